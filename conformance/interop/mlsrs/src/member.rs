//! A state of a group: what mls-rs keeps, and what its caller has to.
use std::collections::HashMap;

use mls_rs::group::{CommitEffect, CommitMessageDescription, ReceivedMessage};
use mls_rs::storage_provider::in_memory::{InMemoryKeyPackageStorage, InMemoryPreSharedKeyStorage};
use mls_rs::{CipherSuite, Client, Group, MlsMessage};

use crate::convert::parse;
use crate::failure::{Result, refused};
use crate::identity::Config;
use crate::rules::Rules;

/// A client between its key package and a group: what the interface calls a
/// transaction.
pub struct Newcomer {
    pub client: Client<Config>,
    pub rules: Rules,
}

impl Newcomer {
    /// A member of the group that the newcomer is in now.
    pub fn enter(&self, group: Group<Config>) -> Member {
        Member {
            group,
            rules: self.rules.clone(),
            psks: self.client.secret_store(),
            packages: self.client.key_package_store(),
            known: HashMap::new(),
            next_suite: None,
        }
    }
}

pub struct Member {
    pub group: Group<Config>,
    pub rules: Rules,
    pub psks: InMemoryPreSharedKeyStorage,
    pub packages: InMemoryKeyPackageStorage,
    /// The references of the proposals of this epoch, by their messages.
    known: HashMap<Vec<u8>, Vec<u8>>,
    /// The suite that a ReInit asks for, once it is committed.
    next_suite: Option<CipherSuite>,
}

impl Member {
    /// The same client in another group.
    pub fn enter(&self, group: Group<Config>) -> Member {
        Member {
            group,
            rules: self.rules.clone(),
            psks: self.psks.clone(),
            packages: self.packages.clone(),
            known: HashMap::new(),
            next_suite: None,
        }
    }

    pub fn authenticator(&self) -> Result<Vec<u8>> {
        Ok(self.group.epoch_authenticator()?.as_bytes().to_vec())
    }

    /// Reads an application message.
    pub fn read(&mut self, message: &[u8]) -> Result<(Vec<u8>, Vec<u8>)> {
        match self.group.process_incoming_message(parse(message)?)? {
            ReceivedMessage::ApplicationMessage(m) => Ok((m.data().to_vec(), m.authenticated_data)),
            _ => Err(refused("not an application message")),
        }
    }

    /// Processes proposals, unless they have been before, and returns their
    /// references.
    pub fn references(&mut self, messages: &[Vec<u8>]) -> Result<Vec<Vec<u8>>> {
        messages.iter().map(|m| self.reference(m)).collect()
    }

    fn reference(&mut self, message: &[u8]) -> Result<Vec<u8>> {
        if let Some(r) = self.known.get(message) {
            return Ok(r.clone());
        }
        match self.group.process_incoming_message(parse(message)?)? {
            ReceivedMessage::Proposal(p) => {
                let reference = p.proposal_ref.as_slice().to_vec();
                self.known.insert(message.to_vec(), reference.clone());
                Ok(reference)
            }
            _ => Err(refused("not a proposal")),
        }
    }

    /// Processes somebody's commit and the proposals that it refers to.
    pub fn follow(&mut self, proposals: &[Vec<u8>], commit: &[u8]) -> Result<()> {
        self.references(proposals)?;
        let done = match self.group.process_incoming_message(parse(commit)?)? {
            ReceivedMessage::Commit(done) => done,
            _ => return Err(refused("not a commit")),
        };
        self.entered(&done)
    }

    /// Applies the own commit.
    pub fn merge(&mut self) -> Result<()> {
        let done = self.group.apply_pending_commit()?;
        self.entered(&done)
    }

    fn entered(&mut self, done: &CommitMessageDescription) -> Result<()> {
        self.known.clear();
        match &done.effect {
            CommitEffect::NewEpoch(_) => Ok(()),
            CommitEffect::Removed { .. } => Err(refused("the commit removes this member")),
            CommitEffect::ReInit(r) => {
                self.next_suite = Some(r.proposal.new_cipher_suite());
                Ok(())
            }
        }
    }

    pub fn next_suite(&self) -> Result<CipherSuite> {
        self.next_suite.ok_or_else(|| refused("the commit holds no ReInit"))
    }

    /// Says what the next commit is to be like.
    pub fn wish(&self, path: bool, tree_apart: bool, references: Vec<Vec<u8>>) {
        let mut wishes = self.rules.wishes();
        wishes.path = path;
        wishes.tree_apart = tree_apart;
        wishes.references = references.into_iter().collect();
    }
}

/// The encoding of a message that mls-rs made.
pub fn encoded(message: MlsMessage) -> Result<Vec<u8>> {
    Ok(message.to_bytes()?)
}
