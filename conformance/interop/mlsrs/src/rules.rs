//! What a commit is to look like. mls-rs asks its client's rules for it whenever it
//! makes one, while the interface says it with each call.
use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard};

use mls_rs::MlsRules;
use mls_rs::client_builder::PaddingMode;
use mls_rs::group::{GroupContext, Roster};
use mls_rs::mls_rules::{
    CommitDirection, CommitOptions, CommitSource, EncryptionOptions, ProposalBundle, ProposalSource,
};

/// The wishes of the call that is being answered.
#[derive(Default)]
pub struct Wishes {
    /// Handshakes travel as PrivateMessage.
    pub encrypt: bool,
    /// A commit has a path even if it needs none.
    pub path: bool,
    /// The ratchet tree is not part of a Welcome.
    pub tree_apart: bool,
    /// The references of the proposals to commit.
    pub references: HashSet<Vec<u8>>,
}

/// A client's rules; clones share them.
#[derive(Clone, Default)]
pub struct Rules(Arc<Mutex<Wishes>>);

impl Rules {
    pub fn wishes(&self) -> MutexGuard<'_, Wishes> {
        self.0.lock().expect("the lock is not held by anybody who panics")
    }

    /// Tells whether the commit is to hold a proposal.
    pub fn wanted(&self, source: &ProposalSource) -> bool {
        match source {
            ProposalSource::ByReference(r) => self.wishes().references.contains(r.as_slice()),
            _ => true,
        }
    }
}

impl MlsRules for Rules {
    type Error = Infallible;

    /// Leaves out of an own commit what the call does not refer to: mls-rs would
    /// take all proposals of the epoch.
    fn filter_proposals(
        &self,
        direction: CommitDirection,
        _: CommitSource,
        _: &Roster,
        _: &GroupContext,
        mut proposals: ProposalBundle,
    ) -> Result<ProposalBundle, Infallible> {
        if direction == CommitDirection::Send {
            proposals.retain(|p| Ok::<_, Infallible>(self.wanted(p.source())))?;
        }
        Ok(proposals)
    }

    fn commit_options(&self, _: &Roster, _: &GroupContext, _: &ProposalBundle) -> Result<CommitOptions, Infallible> {
        let wishes = self.wishes();
        Ok(CommitOptions::new()
            .with_path_required(wishes.path)
            .with_ratchet_tree_extension(!wishes.tree_apart)
            .with_single_welcome_message(true))
    }

    fn encryption_options(&self, _: &Roster, _: &GroupContext) -> Result<EncryptionOptions, Infallible> {
        Ok(EncryptionOptions::new(self.wishes().encrypt, PaddingMode::default()))
    }
}
