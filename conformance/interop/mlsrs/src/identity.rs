//! Who a client of mls-rs is.
use std::collections::HashMap;

use mls_rs::client_builder::{BaseConfig, WithCryptoProvider, WithIdentityProvider, WithMlsRules};
use mls_rs::crypto::SignatureSecretKey;
use mls_rs::extension::ExtensionType;
use mls_rs::identity::SigningIdentity;
use mls_rs::identity::basic::{BasicCredential, BasicIdentityProvider};
use mls_rs::{CipherSuite, CipherSuiteProvider, Client, CryptoProvider};
use mls_rs_crypto_rustcrypto::RustCryptoProvider;

use crate::failure::{Result, malformed, refused, unsupported};
use crate::rules::Rules;

/// The type for private use that scenarios give groups as an extension.
const TEST_EXTENSION: u16 = 0xf0a1;

pub type Config = WithMlsRules<
    Rules,
    WithIdentityProvider<BasicIdentityProvider, WithCryptoProvider<RustCryptoProvider, BaseConfig>>,
>;

/// A signature key and whose it is.
#[derive(Clone)]
pub struct Signer {
    pub secret: SignatureSecretKey,
    pub identity: SigningIdentity,
}

/// The suites of the provider that RFC 9420 assigns.
pub fn suites() -> Vec<CipherSuite> {
    let mut suites = RustCryptoProvider::new().supported_cipher_suites();
    suites.retain(|s| s.raw_value() <= 7);
    suites.sort();
    suites
}

pub fn suite(number: u32) -> Result<CipherSuite> {
    let number = u16::try_from(number).map_err(|_| malformed(format!("{number} is not a cipher suite")))?;
    let suite = CipherSuite::new(number);
    if !suites().contains(&suite) {
        return Err(unsupported(format!("cipher suite {number}")));
    }
    Ok(suite)
}

/// Makes a signature key.
pub fn new_signer(suite: CipherSuite, name: &[u8]) -> Result<Signer> {
    let crypto = RustCryptoProvider::new()
        .cipher_suite_provider(suite)
        .ok_or_else(|| unsupported(format!("cipher suite {}", suite.raw_value())))?;
    let (secret, public) = crypto.signature_key_generate().map_err(|e| refused(format!("mls-rs: {e}")))?;
    let credential = BasicCredential::new(name.to_vec()).into_credential();
    Ok(Signer { secret, identity: SigningIdentity::new(credential, public) })
}

/// The signature keys of everybody here: one for each name and suite. mls-rs's
/// subgroups need that, as a member joins them with the key of the parent group.
#[derive(Default)]
pub struct Signers(HashMap<(u16, Vec<u8>), Signer>);

impl Signers {
    pub fn of(&mut self, suite: CipherSuite, name: &[u8]) -> Result<Signer> {
        let key = (suite.raw_value(), name.to_vec());
        if let Some(signer) = self.0.get(&key) {
            return Ok(signer.clone());
        }
        let signer = new_signer(suite, name)?;
        self.0.insert(key, signer.clone());
        Ok(signer)
    }
}

/// Makes a client of mls-rs with storage of its own.
pub fn new_client(suite: CipherSuite, signer: &Signer, rules: &Rules) -> Client<Config> {
    Client::builder()
        .crypto_provider(RustCryptoProvider::new())
        .identity_provider(BasicIdentityProvider::new())
        .mls_rules(rules.clone())
        .extension_type(ExtensionType::new(TEST_EXTENSION))
        .signing_identity(signer.identity.clone(), signer.secret.clone(), suite)
        .build()
}

/// The name in a basic credential.
pub fn name_of(identity: &SigningIdentity) -> Result<&[u8]> {
    let basic = identity.credential.as_basic().ok_or_else(|| refused("a credential is not basic"))?;
    Ok(&basic.identifier)
}
