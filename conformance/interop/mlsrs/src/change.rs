//! What a proposal is to change, and how each of mls-rs's calls for it is named.
use mls_rs::external_client::ExternalGroup;
use mls_rs::group::CommitBuilder;
use mls_rs::group::Roster;
use mls_rs::psk::ExternalPskId;
use mls_rs::{CipherSuite, ExtensionList, Group, MlsMessage, ProtocolVersion};

use crate::convert::{extensions, leaf_of, parse_package};
use crate::failure::{Result, malformed};
use crate::identity::Config;
use crate::outside::ObserverConfig;
use crate::wire::ProposalDescription;

pub enum Change {
    Add(Box<MlsMessage>),
    Remove(u32),
    ExternalPsk(ExternalPskId),
    /// The group's own PSK of an epoch.
    ResumptionPsk(u64),
    Extensions(ExtensionList),
    ReInit(Vec<u8>, CipherSuite, ExtensionList),
}

/// Proposes a change. Members and those outside have calls of the same names, but no
/// trait for them.
macro_rules! propose {
    ($change:ident, $group:ident) => {{
        let aad = Vec::new();
        Ok(match $change {
            Change::Add(kp) => $group.propose_add(*kp, aad)?,
            Change::Remove(leaf) => $group.propose_remove(leaf, aad)?,
            Change::ExternalPsk(id) => $group.propose_external_psk(id, aad)?,
            Change::ResumptionPsk(epoch) => $group.propose_resumption_psk(epoch, aad)?,
            Change::Extensions(list) => $group.propose_group_context_extensions(list, aad)?,
            Change::ReInit(id, suite, list) => {
                $group.propose_reinit(Some(id), ProtocolVersion::MLS_10, suite, list, aad)?
            }
        })
    }};
}

impl Change {
    /// What a description asks for, in a group of these members.
    pub fn described(d: &ProposalDescription, roster: &Roster<'_>) -> Result<Change> {
        Ok(match d.proposal_type.as_slice() {
            b"add" => Change::Add(Box::new(parse_package(&d.key_package)?)),
            b"remove" => Change::Remove(leaf_of(roster, &d.removed_id)?),
            b"externalPSK" => Change::ExternalPsk(d.psk_id.clone().into()),
            b"resumptionPSK" => Change::ResumptionPsk(d.epoch_id),
            b"groupContextExtensions" => Change::Extensions(extensions(&d.extensions)?),
            b"reinit" => Change::ReInit(d.group_id.clone(), any_suite(d.cipher_suite)?, extensions(&d.extensions)?),
            other => return Err(malformed(format!("no proposal has the type {}", other.escape_ascii()))),
        })
    }

    /// Proposes it as a member.
    pub fn propose(self, group: &mut Group<Config>) -> Result<MlsMessage> {
        propose!(self, group)
    }

    /// Proposes it from outside of the group.
    pub fn propose_outside(self, group: &mut ExternalGroup<ObserverConfig>) -> Result<MlsMessage> {
        propose!(self, group)
    }

    /// Puts it into a commit by value.
    pub fn put_into<'a>(self, commit: CommitBuilder<'a, Config>) -> Result<CommitBuilder<'a, Config>> {
        Ok(match self {
            Change::Add(kp) => commit.add_member(*kp)?,
            Change::Remove(leaf) => commit.remove_member(leaf)?,
            Change::ExternalPsk(id) => commit.add_external_psk(id)?,
            Change::ResumptionPsk(epoch) => commit.add_resumption_psk(epoch)?,
            Change::Extensions(list) => commit.set_group_context_ext(list)?,
            Change::ReInit(id, suite, list) => commit.reinit(Some(id), ProtocolVersion::MLS_10, suite, list)?,
        })
    }
}

/// A suite that a ReInit may name, whether this client has it or not.
fn any_suite(number: u32) -> Result<CipherSuite> {
    match u16::try_from(number) {
        Ok(n) => Ok(CipherSuite::new(n)),
        Err(_) => Err(malformed(format!("{number} is not a cipher suite"))),
    }
}
