//! The calls for those who are outside of a group.
use mls_rs::extension::built_in::ExternalSendersExt;
use mls_rs::external_client::ExternalClient;
use mls_rs::external_client::builder::{ExternalBaseConfig, WithCryptoProvider, WithIdentityProvider};
use mls_rs::identity::basic::BasicIdentityProvider;
use mls_rs::mls_rs_codec::MlsEncode;
use mls_rs::{ExtensionList, WireFormat};
use mls_rs_crypto_rustcrypto::RustCryptoProvider;

use crate::change::Change;
use crate::client::{Client, Thing};
use crate::convert::{group_info, parse_format, parse_tree};
use crate::failure::{Result, malformed, refused};
use crate::identity::{Signer, new_signer, suite};
use crate::joins::private_keys;
use crate::member::encoded;
use crate::wire::*;

pub type ObserverConfig =
    WithIdentityProvider<BasicIdentityProvider, WithCryptoProvider<RustCryptoProvider, ExternalBaseConfig>>;

/// An external sender.
pub struct Outsider {
    signer: Signer,
}

impl Outsider {
    fn client(&self) -> ExternalClient<ObserverConfig> {
        ExternalClient::builder()
            .crypto_provider(RustCryptoProvider::new())
            .identity_provider(BasicIdentityProvider::new())
            .signer(self.signer.secret.clone(), self.signer.identity.clone())
            .build()
    }
}

impl Client {
    pub fn new_member_add_proposal(&mut self, r: NewMemberAddProposalRequest) -> Result<NewMemberAddProposalResponse> {
        let message = parse_format(&r.group_info, WireFormat::GroupInfo)?;
        let suite = suite(group_info(&message)?.group_context().cipher_suite().raw_value().into())?;
        let n = self.newcomer_of(suite, &r.identity)?;
        let none = ExtensionList::new();
        let proposal = n.client.external_add_proposal(&message, None, Vec::new(), none.clone(), none, None)?;
        let private = private_keys(&n)?;
        let signature_priv = self.signer(suite, &r.identity)?.secret;
        Ok(NewMemberAddProposalResponse {
            transaction_id: self.put(Thing::Newcomer(Box::new(n))),
            proposal: encoded(proposal)?,
            init_priv: private.init_key.to_vec(),
            encryption_priv: private.leaf_node_key.to_vec(),
            signature_priv: signature_priv.to_vec(),
        })
    }

    pub fn create_external_signer(&mut self, r: CreateExternalSignerRequest) -> Result<CreateExternalSignerResponse> {
        let signer = new_signer(suite(r.cipher_suite)?, &r.identity)?;
        let external_sender = signer.identity.mls_encode_to_vec()?;
        let signer_id = self.put(Thing::Outsider(Box::new(Outsider { signer })));
        Ok(CreateExternalSignerResponse { signer_id, external_sender })
    }

    /// Proposes from outside. mls-rs finds the sender's index by its identity.
    pub fn external_signer_proposal(&mut self, r: ExternalSignerProposalRequest) -> Result<ProposalResponse> {
        let who = self.outsider(r.signer_id)?;
        let message = parse_format(&r.group_info, WireFormat::GroupInfo)?;
        let list = group_info(&message)?.group_context().extensions();
        let listed = list.get_as::<ExternalSendersExt>()?.map(|ext| ext.allowed_senders).unwrap_or_default();
        if listed.get(r.signer_index as usize) != Some(&who.signer.identity) {
            return Err(refused(format!("the signer is not the group's external sender {}", r.signer_index)));
        }
        let d = r.description.ok_or_else(|| malformed("there is no description"))?;
        let mut group = who.client().observe_group(message, parse_tree(&r.ratchet_tree)?, None)?;
        let change = Change::described(&d, &group.roster())?;
        Ok(ProposalResponse { proposal: encoded(change.propose_outside(&mut group)?)? })
    }
}
