//! What a call answers if it has no result.
use mls_rs::error::{ExtensionError, MlsError};
use mls_rs::mls_rs_codec;
use tonic::{Code, Status};

pub type Result<T> = std::result::Result<T, Failure>;

/// The reason that a call has no result, and the gRPC code of it.
#[derive(Debug)]
pub struct Failure {
    code: Code,
    reason: String,
}

/// What mls-rs has no function for.
pub fn unsupported(reason: impl Into<String>) -> Failure {
    Failure { code: Code::Unimplemented, reason: reason.into() }
}

/// What the arguments or the state forbid.
pub fn refused(reason: impl Into<String>) -> Failure {
    Failure { code: Code::FailedPrecondition, reason: reason.into() }
}

/// Arguments that make no sense.
pub fn malformed(reason: impl Into<String>) -> Failure {
    Failure { code: Code::InvalidArgument, reason: reason.into() }
}

impl From<Failure> for Status {
    fn from(f: Failure) -> Status {
        Status::new(f.code, f.reason)
    }
}

/// mls-rs's own errors: the text, and the name where it says more.
impl From<MlsError> for Failure {
    fn from(e: MlsError) -> Failure {
        refused(format!("mls-rs: {e} ({e:?})"))
    }
}

impl From<mls_rs_codec::Error> for Failure {
    fn from(e: mls_rs_codec::Error) -> Failure {
        malformed(format!("mls-rs: {e}"))
    }
}

impl From<ExtensionError> for Failure {
    fn from(e: ExtensionError) -> Failure {
        malformed(format!("mls-rs: {e}"))
    }
}
