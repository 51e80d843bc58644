//! The calls by which clients get into groups.
use mls_rs::storage_provider::KeyPackageData;
use mls_rs::{CipherSuite, ExtensionList, WireFormat};

use crate::client::{Client, Thing};
use crate::convert::{group_info, leaf_of, parse_format, parse_tree, tree_of};
use crate::failure::{Result, refused};
use crate::identity::{new_client, suite};
use crate::member::{Newcomer, encoded};
use crate::rules::Rules;
use crate::wire::*;

impl Client {
    /// Makes a client of mls-rs.
    pub fn newcomer_of(&mut self, suite: CipherSuite, name: &[u8]) -> Result<Newcomer> {
        let signer = self.signer(suite, name)?;
        let rules = Rules::default();
        Ok(Newcomer { client: new_client(suite, &signer, &rules), rules })
    }

    pub fn create_group(&mut self, r: CreateGroupRequest) -> Result<CreateGroupResponse> {
        let n = self.newcomer_of(suite(r.cipher_suite)?, &r.identity)?;
        n.rules.wishes().encrypt = r.encrypt_handshake;
        let none = ExtensionList::new();
        let group = n.client.create_group_with_id(r.group_id, none.clone(), none, None)?;
        Ok(CreateGroupResponse { state_id: self.put_member(n.enter(group)) })
    }

    pub fn create_key_package(&mut self, r: CreateKeyPackageRequest) -> Result<CreateKeyPackageResponse> {
        let n = self.newcomer_of(suite(r.cipher_suite)?, &r.identity)?;
        let none = ExtensionList::new();
        let key_package = encoded(n.client.generate_key_package_message(none.clone(), none, None)?)?;
        let private = private_keys(&n)?;
        let signature_priv = self.signer(suite(r.cipher_suite)?, &r.identity)?.secret;
        Ok(CreateKeyPackageResponse {
            transaction_id: self.put(Thing::Newcomer(Box::new(n))),
            key_package,
            init_priv: private.init_key.to_vec(),
            encryption_priv: private.leaf_node_key.to_vec(),
            signature_priv: signature_priv.to_vec(),
        })
    }

    pub fn join_group(&mut self, r: JoinGroupRequest) -> Result<JoinGroupResponse> {
        let n = self.newcomer(r.transaction_id)?;
        n.rules.wishes().encrypt = r.encrypt_handshake;
        let welcome = parse_format(&r.welcome, WireFormat::Welcome)?;
        let (group, _) = n.client.join_group(parse_tree(&r.ratchet_tree)?, &welcome, None)?;
        let m = n.enter(group);
        self.drop_handle(r.transaction_id);
        let epoch_authenticator = m.authenticator()?;
        Ok(JoinGroupResponse { state_id: self.put_member(m), epoch_authenticator })
    }

    pub fn external_join(&mut self, r: ExternalJoinRequest) -> Result<ExternalJoinResponse> {
        let message = parse_format(&r.group_info, WireFormat::GroupInfo)?;
        let info = group_info(&message)?;
        let n = self.newcomer_of(suite(info.group_context().cipher_suite().raw_value().into())?, &r.identity)?;
        n.rules.wishes().encrypt = r.encrypt_handshake;
        let mut builder = n.client.external_commit_builder()?;
        if let Some(tree) = parse_tree(&r.ratchet_tree)? {
            builder = builder.with_tree_data(tree);
        }
        if r.remove_prior {
            let tree = tree_of(info, &r.ratchet_tree)?;
            builder = builder.with_removal(leaf_of(&tree.roster(), &r.identity)?);
        }
        for psk in r.psks {
            n.client.secret_store().insert(psk.psk_id.clone().into(), psk.psk_secret.into());
            builder = builder.with_external_psk(psk.psk_id.into());
        }
        let (group, commit) = builder.build(message)?;
        let m = n.enter(group);
        let epoch_authenticator = m.authenticator()?;
        Ok(ExternalJoinResponse { state_id: self.put_member(m), commit: encoded(commit)?, epoch_authenticator })
    }
}

/// The private keys of a newcomer's key package.
pub fn private_keys(n: &Newcomer) -> Result<KeyPackageData> {
    let mut all = n.client.key_package_store().key_packages();
    match all.pop() {
        Some((_, data)) => Ok(data),
        None => Err(refused("mls-rs keeps no key package")),
    }
}
