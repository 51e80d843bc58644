//! The calls for groups that come out of others: reinitialization and branches.
use mls_rs::group::ReinitClient;
use mls_rs::{ExtensionList, MlsMessage, WireFormat};

use crate::client::{Client, Thing};
use crate::convert::{extensions, parse_format, parse_packages, parse_tree};
use crate::failure::{Result, refused, unsupported};
use crate::identity::{Config, Signer, name_of};
use crate::member::{Member, encoded};
use crate::wire::*;

/// A member of a group that was shut down by a ReInit.
pub struct Suspended {
    old: Member,
    /// Who the member is in the group to come, which may have another suite.
    signer: Signer,
}

impl Suspended {
    /// mls-rs's own: each call uses it up.
    fn client(&self) -> Result<ReinitClient<Config>> {
        let group = self.old.group.clone();
        Ok(group.get_reinit_client(Some(self.signer.secret.clone()), Some(self.signer.identity.clone()))?)
    }
}

impl Client {
    pub fn handle_pending_re_init_commit(
        &mut self,
        r: HandlePendingCommitRequest,
    ) -> Result<HandleReInitCommitResponse> {
        self.member(r.state_id)?.merge()?;
        self.suspend(r.state_id)
    }

    pub fn handle_re_init_commit(&mut self, r: HandleCommitRequest) -> Result<HandleReInitCommitResponse> {
        self.member(r.state_id)?.follow(&r.proposal, &r.commit)?;
        self.suspend(r.state_id)
    }

    /// Prepares a member for the group that its ReInit asks for.
    fn suspend(&mut self, state: u32) -> Result<HandleReInitCommitResponse> {
        let m = self.member(state)?;
        let name = name_of(m.group.current_member_signing_identity()?)?.to_vec();
        let old = m.enter(m.group.clone());
        let epoch_authenticator = old.authenticator()?;
        let suite = m.next_suite()?;
        let s = Suspended { old, signer: self.signer(suite, &name)? };
        let key_package = encoded(s.client()?.generate_key_package(None)?)?;
        let reinit_id = self.put(Thing::Suspended(Box::new(s)));
        Ok(HandleReInitCommitResponse { reinit_id, key_package, epoch_authenticator })
    }

    pub fn re_init_welcome(&mut self, r: ReInitWelcomeRequest) -> Result<CreateSubgroupResponse> {
        let s = self.suspended(r.reinit_id)?;
        s.old.wish(r.force_path, r.external_tree, Vec::new());
        let (group, welcomes) = s.client()?.commit(parse_packages(&r.key_package)?, ExtensionList::new(), None)?;
        let m = s.old.enter(group);
        self.subgroup(m, welcomes, r.external_tree)
    }

    fn subgroup(&mut self, m: Member, welcomes: Vec<MlsMessage>, tree_apart: bool) -> Result<CreateSubgroupResponse> {
        let welcome = welcomes.first().ok_or_else(|| refused("mls-rs makes no Welcome"))?.to_bytes()?;
        let ratchet_tree = if tree_apart { m.group.export_tree().to_bytes()? } else { Vec::new() };
        let epoch_authenticator = m.authenticator()?;
        Ok(CreateSubgroupResponse { state_id: self.put_member(m), welcome, ratchet_tree, epoch_authenticator })
    }

    pub fn handle_re_init_welcome(&mut self, r: HandleReInitWelcomeRequest) -> Result<JoinGroupResponse> {
        let s = self.suspended(r.reinit_id)?;
        let welcome = parse_format(&r.welcome, WireFormat::Welcome)?;
        let (group, _) = s.client()?.join(&welcome, parse_tree(&r.ratchet_tree)?, None)?;
        let m = s.old.enter(group);
        let epoch_authenticator = m.authenticator()?;
        self.drop_handle(r.reinit_id);
        Ok(JoinGroupResponse { state_id: self.put_member(m), epoch_authenticator })
    }

    pub fn create_branch(&mut self, r: CreateBranchRequest) -> Result<CreateSubgroupResponse> {
        let m = self.member(r.state_id)?;
        if extensions(&r.extensions)? != *m.group.context().extensions() {
            return Err(unsupported("Group::branch gives a branch the extensions of its parent and no others"));
        }
        m.wish(r.force_path, r.external_tree, Vec::new());
        let (group, welcomes) = m.group.branch(r.group_id, parse_packages(&r.key_packages)?, None)?;
        let branch = m.enter(group);
        self.subgroup(branch, welcomes, r.external_tree)
    }

    /// Joins a branch. mls-rs looks for the key package where the parent group's
    /// client keeps its own.
    pub fn handle_branch(&mut self, r: HandleBranchRequest) -> Result<HandleBranchResponse> {
        let packages = self.newcomer(r.transaction_id)?.client.key_package_store().key_packages();
        let m = self.member(r.state_id)?;
        for (reference, data) in packages {
            m.packages.insert(reference, data);
        }
        let welcome = parse_format(&r.welcome, WireFormat::Welcome)?;
        let (group, _) = m.group.join_subgroup(&welcome, parse_tree(&r.ratchet_tree)?, None)?;
        let branch = m.enter(group);
        let epoch_authenticator = branch.authenticator()?;
        self.drop_handle(r.transaction_id);
        Ok(HandleBranchResponse { state_id: self.put_member(branch), epoch_authenticator })
    }
}
