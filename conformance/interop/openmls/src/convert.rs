//! Between the types of the gRPC service and those of OpenMLS.

use std::fmt::Debug;

use openmls::messages::group_info::VerifiableGroupInfo;
use openmls::prelude::tls_codec::{Deserialize, Serialize};
use openmls::prelude::*;
use openmls_rust_crypto::RustCrypto;
use tonic::Status;

use crate::proto;

pub type Result<T> = std::result::Result<T, Status>;

/// refuse turns an error of OpenMLS into the answer to a call.
pub fn refuse(err: impl Debug) -> Status {
    Status::failed_precondition(format!("{err:?}"))
}

pub fn unsupported(what: &str) -> Status {
    Status::unimplemented(what)
}

pub fn malformed(what: &str) -> Status {
    Status::invalid_argument(what)
}

/// suite finds a cipher suite that the crypto provider has.
pub fn suite(crypto: &RustCrypto, number: u32) -> Result<Ciphersuite> {
    u16::try_from(number)
        .ok()
        .and_then(|n| Ciphersuite::try_from(n).ok())
        .filter(|s| crypto.supports(*s).is_ok())
        .ok_or_else(|| unsupported("the cipher suite"))
}

/// decode reads a structure and nothing behind it.
pub fn decode<T: Deserialize>(data: &[u8]) -> Result<T> {
    T::tls_deserialize_exact(data).map_err(refuse)
}

pub fn encode(value: impl Serialize) -> Result<Vec<u8>> {
    value.tls_serialize_detached().map_err(refuse)
}

/// message reads the body of an MLSMessage.
pub fn message(data: &[u8]) -> Result<MlsMessageBodyIn> {
    Ok(decode::<MlsMessageIn>(data)?.extract())
}

/// handshake reads an MLSMessage that members and those outside of a group send.
pub fn protocol_message(data: &[u8]) -> Result<ProtocolMessage> {
    decode::<MlsMessageIn>(data)?.try_into_protocol_message().map_err(refuse)
}

/// key_package reads a key package, a message or bare, and verifies it.
pub fn key_package(crypto: &RustCrypto, data: &[u8]) -> Result<KeyPackage> {
    let unverified = match message(data) {
        Ok(MlsMessageBodyIn::KeyPackage(kp)) => kp,
        _ => decode::<KeyPackageIn>(data)?,
    };
    unverified.validate(crypto, ProtocolVersion::Mls10).map_err(refuse)
}

pub fn group_info(data: &[u8]) -> Result<VerifiableGroupInfo> {
    match message(data)? {
        MlsMessageBodyIn::GroupInfo(info) => Ok(info),
        _ => Err(malformed("no GroupInfo")),
    }
}

/// tree reads a ratchet tree that came apart; empty stands for none.
pub fn tree(data: &[u8]) -> Result<Option<RatchetTreeIn>> {
    if data.is_empty() {
        return Ok(None);
    }
    decode(data).map(Some)
}

/// extensions reads the extensions of a group context. They travel in pieces, and
/// OpenMLS reads them whole.
pub fn extensions(list: &[proto::Extension]) -> Result<Extensions<GroupContext>> {
    let mut out = Vec::new();
    for e in list {
        let kind = u16::try_from(e.extension_type).map_err(refuse)?;
        let mut data = encode(kind)?;
        data.extend(encode(VLBytes::from(e.extension_data.as_slice()))?);
        out.push(decode::<Extension>(&data)?);
    }
    Extensions::from_vec(out).map_err(refuse)
}
