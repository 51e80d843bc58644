//! The calls that make and follow commits.
use crate::change::Change;
use crate::client::Client;
use crate::failure::{Result, refused};
use crate::member::{Member, encoded};
use crate::wire::*;

impl Client {
    pub fn commit(&mut self, r: CommitRequest) -> Result<CommitResponse> {
        commit(self.member(r.state_id)?, &r)
    }

    pub fn handle_commit(&mut self, r: HandleCommitRequest) -> Result<HandleCommitResponse> {
        let m = self.member(r.state_id)?;
        m.follow(&r.proposal, &r.commit)?;
        Ok(HandleCommitResponse { state_id: r.state_id, epoch_authenticator: m.authenticator()? })
    }

    pub fn handle_pending_commit(&mut self, r: HandlePendingCommitRequest) -> Result<HandleCommitResponse> {
        let m = self.member(r.state_id)?;
        m.merge()?;
        Ok(HandleCommitResponse { state_id: r.state_id, epoch_authenticator: m.authenticator()? })
    }

    pub fn re_init_commit(&mut self, r: CommitRequest) -> Result<CommitResponse> {
        commit(self.member(r.state_id)?, &r)
    }
}

/// Makes a commit, in place of any earlier one that was not applied.
fn commit(m: &mut Member, r: &CommitRequest) -> Result<CommitResponse> {
    m.group.clear_pending_commit();
    let references = m.references(&r.by_reference)?;
    let changes = r.by_value.iter().map(|d| Change::described(d, &m.group.roster())).collect::<Result<Vec<_>>>()?;
    m.wish(r.force_path, r.external_tree, references);
    let mut builder = m.group.commit_builder();
    for c in changes {
        builder = c.put_into(builder)?;
    }
    let made = builder.build()?;
    if let Some(p) = made.unused_proposals().iter().find(|p| m.rules.wanted(p.source())) {
        m.group.clear_pending_commit();
        return Err(refused(format!("mls-rs leaves a proposal out: {:?}", p.proposal.proposal_type())));
    }
    Ok(CommitResponse {
        commit: encoded(made.commit_message().clone())?,
        welcome: match made.welcome_messages().first() {
            Some(welcome) => welcome.to_bytes()?,
            None => Vec::new(),
        },
        ratchet_tree: match made.ratchet_tree() {
            Some(tree) => tree.to_bytes()?,
            None => Vec::new(),
        },
    })
}
