//! All that a client knows, by handles; and the calls that only look at it.
use std::collections::HashMap;

use crate::failure::{Result, refused};
use crate::identity::{Signer, Signers, suites};
use crate::member::{Member, Newcomer};
use crate::outside::Outsider;
use crate::succession::Suspended;
use crate::wire::*;

/// The version is that of Cargo.lock.
const NAME: &str = concat!("mls-rs ", env!("MLS_RS_VERSION"));

/// What a handle stands for.
pub enum Thing {
    Member(Box<Member>),
    Newcomer(Box<Newcomer>),
    Suspended(Box<Suspended>),
    Outsider(Box<Outsider>),
}

#[derive(Default)]
pub struct Client {
    pub signers: Signers,
    things: HashMap<u32, Thing>,
    last: u32,
}

/// A method that finds a thing of one kind.
macro_rules! find {
    ($name:ident, $kind:ident, $what:literal) => {
        pub fn $name(&mut self, handle: u32) -> Result<&mut $kind> {
            match self.things.get_mut(&handle) {
                Some(Thing::$kind(thing)) => Ok(thing),
                _ => Err(refused(format!("no {} has the handle {handle}", $what))),
            }
        }
    };
}

impl Client {
    find!(member, Member, "state");
    find!(newcomer, Newcomer, "transaction");
    find!(suspended, Suspended, "reinitialization");
    find!(outsider, Outsider, "signer");

    pub fn put(&mut self, thing: Thing) -> u32 {
        self.last += 1;
        self.things.insert(self.last, thing);
        self.last
    }

    pub fn put_member(&mut self, m: Member) -> u32 {
        self.put(Thing::Member(Box::new(m)))
    }

    pub fn drop_handle(&mut self, handle: u32) {
        self.things.remove(&handle);
    }

    pub fn signer(&mut self, suite: mls_rs::CipherSuite, name: &[u8]) -> Result<Signer> {
        self.signers.of(suite, name)
    }

    pub fn name(&mut self, _: NameRequest) -> Result<NameResponse> {
        Ok(NameResponse { name: NAME.to_string() })
    }

    pub fn supported_ciphersuites(&mut self, _: SupportedCiphersuitesRequest) -> Result<SupportedCiphersuitesResponse> {
        let ciphersuites = suites().iter().map(|s| s.raw_value().into()).collect();
        Ok(SupportedCiphersuitesResponse { ciphersuites })
    }

    pub fn free(&mut self, r: FreeRequest) -> Result<FreeResponse> {
        match self.things.remove(&r.state_id) {
            Some(_) => Ok(FreeResponse {}),
            None => Err(refused(format!("nothing has the handle {}", r.state_id))),
        }
    }

    pub fn group_info(&mut self, r: GroupInfoRequest) -> Result<GroupInfoResponse> {
        let m = self.member(r.state_id)?;
        let info = m.group.group_info_message_allowing_ext_commit(!r.external_tree)?;
        let ratchet_tree = if r.external_tree { m.group.export_tree().to_bytes()? } else { Vec::new() };
        Ok(GroupInfoResponse { group_info: info.to_bytes()?, ratchet_tree })
    }

    pub fn state_auth(&mut self, r: StateAuthRequest) -> Result<StateAuthResponse> {
        Ok(StateAuthResponse { state_auth_secret: self.member(r.state_id)?.authenticator()? })
    }

    pub fn export(&mut self, r: ExportRequest) -> Result<ExportResponse> {
        let group = &self.member(r.state_id)?.group;
        let secret = group.export_secret(r.label.as_bytes(), &r.context, r.key_length as usize)?;
        Ok(ExportResponse { exported_secret: secret.as_bytes().to_vec() })
    }

    pub fn protect(&mut self, r: ProtectRequest) -> Result<ProtectResponse> {
        let group = &mut self.member(r.state_id)?.group;
        let message = group.encrypt_application_message(&r.plaintext, r.authenticated_data)?;
        Ok(ProtectResponse { ciphertext: message.to_bytes()? })
    }

    pub fn unprotect(&mut self, r: UnprotectRequest) -> Result<UnprotectResponse> {
        let (plaintext, authenticated_data) = self.member(r.state_id)?.read(&r.ciphertext)?;
        Ok(UnprotectResponse { authenticated_data, plaintext })
    }

    pub fn store_psk(&mut self, r: StorePskRequest) -> Result<StorePskResponse> {
        let mut psks = match self.things.get(&r.state_or_transaction_id) {
            Some(Thing::Member(m)) => m.psks.clone(),
            Some(Thing::Newcomer(n)) => n.client.secret_store(),
            _ => return Err(refused(format!("no state or transaction has the handle {}", r.state_or_transaction_id))),
        };
        psks.insert(r.psk_id.into(), r.psk_secret.into());
        Ok(StorePskResponse {})
    }
}
