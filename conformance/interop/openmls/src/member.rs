//! A state of a group: what OpenMLS keeps, and what its caller has to.

use std::collections::{HashMap, HashSet};

use openmls::ciphersuite::hash_ref::ProposalRef;
use openmls::messages::group_info::VerifiableGroupInfo;
use openmls::messages::proposals::ProposalOrRefType;
use openmls::prelude::*;
use openmls::schedule::psk::{Psk, ResumptionPsk, ResumptionPskUsage};
use openmls::schedule::{ExternalPsk, PreSharedKeyId};
use openmls_basic_credential::SignatureKeyPair;
use openmls_rust_crypto::OpenMlsRustCrypto;
use tonic::Status;

use crate::convert::*;
use crate::proto::{CommitRequest, CommitResponse, ProposalDescription};

/// The type for private use that scenarios give groups as an extension.
const TEST_EXTENSION: u16 = 0xf0a1;

/// How many epochs the resumption PSKs are kept.
const RESUMPTION_PSKS: usize = 16;

pub const NO_REINIT: &str =
    "OpenMLS does not reinitialize groups: ProposalQueue::filter_proposals leaves ReInit out of commits";
pub const NO_BRANCH: &str = "OpenMLS does not branch groups: keys_for_welcome knows no resumption PSK of another group";

/// capabilities are those of every member: what the provider can do, and the
/// extension of the scenarios.
pub fn capabilities(provider: &OpenMlsRustCrypto) -> Capabilities {
    Capabilities::new(
        None,
        Some(&provider.crypto().supported_ciphersuites()),
        Some(&[ExtensionType::Unknown(TEST_EXTENSION)]),
        None,
        Some(&[CredentialType::Basic]),
    )
}

pub fn credential(identity: Vec<u8>, signer: &SignatureKeyPair) -> CredentialWithKey {
    CredentialWithKey {
        credential: BasicCredential::new(identity).into(),
        signature_key: signer.to_public_vec().into(),
    }
}

/// wire_format sends handshakes in the clear or encrypted, and reads both.
pub fn wire_format(encrypt: bool) -> WireFormatPolicy {
    if encrypt {
        MIXED_CIPHERTEXT_WIRE_FORMAT_POLICY
    } else {
        MIXED_PLAINTEXT_WIRE_FORMAT_POLICY
    }
}

fn join_config(encrypt: bool) -> MlsGroupJoinConfig {
    MlsGroupJoinConfig::builder()
        .wire_format_policy(wire_format(encrypt))
        .number_of_resumption_psks(RESUMPTION_PSKS)
        .build()
}

/// Newcomer is a client between its key package and a group.
pub struct Newcomer {
    pub provider: OpenMlsRustCrypto,
    pub signer: SignatureKeyPair,
}

impl Newcomer {
    pub fn key_package(&self, suite: Ciphersuite, identity: Vec<u8>) -> Result<KeyPackageBundle> {
        KeyPackage::builder()
            .leaf_node_capabilities(capabilities(&self.provider))
            .build(suite, &self.provider, &self.signer, credential(identity, &self.signer))
            .map_err(refuse)
    }

    pub fn create(self, group_id: &[u8], suite: Ciphersuite, identity: Vec<u8>, encrypt: bool) -> Result<Member> {
        let group = MlsGroup::builder()
            .with_group_id(GroupId::from_slice(group_id))
            .ciphersuite(suite)
            .with_capabilities(capabilities(&self.provider))
            .with_wire_format_policy(wire_format(encrypt))
            .number_of_resumption_psks(RESUMPTION_PSKS)
            .build(&self.provider, &self.signer, credential(identity, &self.signer))
            .map_err(refuse)?;
        Ok(Member::new(self, group))
    }

    /// join follows a Welcome.
    pub fn join(self, welcome: &[u8], ratchet_tree: &[u8], encrypt: bool) -> Result<Member> {
        let MlsMessageBodyIn::Welcome(welcome) = message(welcome)? else {
            return Err(malformed("no Welcome"));
        };
        let group =
            StagedWelcome::new_from_welcome(&self.provider, &join_config(encrypt), welcome, tree(ratchet_tree)?)
                .and_then(|staged| staged.into_group(&self.provider))
                .map_err(refuse)?;
        Ok(Member::new(self, group))
    }

    /// join_external makes an external commit. OpenMLS removes the member that has the
    /// joiner's signature key, if there is one.
    pub fn join_external(
        self,
        info: VerifiableGroupInfo,
        ratchet_tree: Option<RatchetTreeIn>,
        identity: Vec<u8>,
        encrypt: bool,
        psks: Vec<PreSharedKeyProposal>,
    ) -> Result<(Member, Vec<u8>)> {
        let mut builder = MlsGroup::external_commit_builder().with_config(join_config(encrypt));
        if let Some(ratchet_tree) = ratchet_tree {
            builder = builder.with_ratchet_tree(ratchet_tree);
        }
        let leaf = LeafNodeParameters::builder().with_capabilities(capabilities(&self.provider)).build();
        let (group, bundle) = builder
            .build_group(&self.provider, info, credential(identity, &self.signer))
            .map_err(refuse)?
            .leaf_node_parameters(leaf)
            .add_psk_proposals(psks)
            .load_psks(self.provider.storage())
            .map_err(refuse)?
            .build(self.provider.rand(), self.provider.crypto(), &self.signer, |_| true)
            .map_err(refuse)?
            .finalize(&self.provider)
            .map_err(refuse)?;
        Ok((Member::new(self, group), encode(bundle.commit())?))
    }
}

/// store_psk keeps an external pre-shared key.
pub fn store_psk(provider: &OpenMlsRustCrypto, id: Vec<u8>, secret: &[u8]) -> Result<()> {
    PreSharedKeyId::external(id, Vec::new()).store(provider, secret).map_err(refuse)
}

pub fn psk(provider: &OpenMlsRustCrypto, suite: Ciphersuite, psk: Psk) -> Result<PreSharedKeyId> {
    PreSharedKeyId::new(suite, provider.rand(), psk).map_err(refuse)
}

pub fn external_psk(id: Vec<u8>) -> Psk {
    Psk::External(ExternalPsk::new(id))
}

/// Change is what a commit makes by value. OpenMLS has a call of its own for each kind.
enum Change {
    Add(Box<KeyPackage>),
    Remove(LeafNodeIndex),
    PreSharedKey(Box<PreSharedKeyProposal>),
    Extensions(Extensions<GroupContext>),
}

pub struct Member {
    pub provider: OpenMlsRustCrypto,
    pub signer: SignatureKeyPair,
    pub group: MlsGroup,
    /// The references of the proposals of this epoch, by their messages.
    refs: HashMap<Vec<u8>, ProposalRef>,
}

impl Member {
    fn new(from: Newcomer, group: MlsGroup) -> Self {
        Member { provider: from.provider, signer: from.signer, group, refs: HashMap::new() }
    }

    pub fn authenticator(&self) -> Vec<u8> {
        self.group.epoch_authenticator().as_slice().to_vec()
    }

    fn leaf_of(&self, identity: &[u8]) -> Result<LeafNodeIndex> {
        let credential = BasicCredential::new(identity.to_vec()).into();
        self.group.member_leaf_index(&credential).ok_or_else(|| Status::not_found("no member has that identity"))
    }

    fn resumption_psk(&self, epoch: u64) -> Psk {
        Psk::Resumption(ResumptionPsk::new(
            ResumptionPskUsage::Application,
            self.group.group_id().clone(),
            epoch.into(),
        ))
    }

    fn described_psk(&self, d: &ProposalDescription) -> Result<PreSharedKeyId> {
        let which = if d.proposal_type == b"externalPSK" {
            external_psk(d.psk_id.clone())
        } else {
            self.resumption_psk(d.epoch_id)
        };
        psk(&self.provider, self.group.ciphersuite(), which)
    }

    /// describe makes the change that a description asks for.
    fn describe(&self, d: &ProposalDescription) -> Result<Change> {
        match d.proposal_type.as_slice() {
            b"add" => {
                let kp = key_package(self.provider.crypto(), &d.key_package)?;
                Ok(Change::Add(Box::new(kp)))
            }
            b"remove" => Ok(Change::Remove(self.leaf_of(&d.removed_id)?)),
            b"externalPSK" | b"resumptionPSK" => {
                Ok(Change::PreSharedKey(Box::new(PreSharedKeyProposal::new(self.described_psk(d)?))))
            }
            b"groupContextExtensions" => Ok(Change::Extensions(extensions(&d.extensions)?)),
            b"reinit" => Err(unsupported(NO_REINIT)),
            _ => Err(malformed("no proposal has that type")),
        }
    }

    /// propose sends the proposal that a description asks for.
    pub fn propose(&mut self, d: &ProposalDescription) -> Result<Vec<u8>> {
        let id = match d.proposal_type.as_slice() {
            b"externalPSK" | b"resumptionPSK" => Some(self.described_psk(d)?),
            _ => None,
        };
        let (provider, signer) = (&self.provider, &self.signer);
        let made = match (d.proposal_type.as_slice(), id) {
            (_, Some(id)) => self.group.propose_pre_shared_key(provider, signer, id).map_err(refuse),
            (b"add", _) => {
                let kp = key_package(provider.crypto(), &d.key_package)?;
                self.group.propose_add_member(provider, signer, &kp).map_err(refuse)
            }
            (b"update", _) => {
                self.group.propose_self_update(provider, signer, LeafNodeParameters::default()).map_err(refuse)
            }
            (b"remove", _) => {
                let leaf = self.leaf_of(&d.removed_id)?;
                self.group.propose_remove_member(provider, signer, leaf).map_err(refuse)
            }
            (b"groupContextExtensions", _) => {
                let exts = extensions(&d.extensions)?;
                self.group.propose_group_context_extensions(provider, exts, signer).map_err(refuse)
            }
            _ => Err(malformed("no proposal has that type")),
        };
        self.proposed(made?)
    }

    /// propose_sender proposes to list another external sender, after those there are.
    pub fn propose_sender(&mut self, sender: ExternalSender) -> Result<Vec<u8>> {
        let mut senders = self.group.extensions().external_senders().cloned().unwrap_or_default();
        senders.push(sender);
        let mut exts = self.group.extensions().clone();
        exts.add_or_replace(Extension::ExternalSenders(senders)).map_err(refuse)?;
        let made = self.group.propose_group_context_extensions(&self.provider, exts, &self.signer).map_err(refuse)?;
        self.proposed(made)
    }

    fn proposed(&mut self, (message, reference): (MlsMessageOut, ProposalRef)) -> Result<Vec<u8>> {
        let data = encode(message)?;
        self.refs.insert(data.clone(), reference);
        Ok(data)
    }

    fn process(&mut self, data: &[u8]) -> Result<ProcessedMessage> {
        self.group.process_message(&self.provider, protocol_message(data)?).map_err(refuse)
    }

    /// reference is what a commit calls a proposal, which is processed unless it has
    /// been before.
    fn reference(&mut self, data: &[u8]) -> Result<ProposalRef> {
        if let Some(known) = self.refs.get(data) {
            return Ok(known.clone());
        }
        let (ProcessedMessageContent::ProposalMessage(queued)
        | ProcessedMessageContent::ExternalJoinProposalMessage(queued)) = self.process(data)?.into_content()
        else {
            return Err(malformed("not a proposal"));
        };
        let reference = queued.proposal_reference_ref().clone();
        self.group.store_pending_proposal(self.provider.storage(), *queued).map_err(refuse)?;
        self.refs.insert(data.to_vec(), reference.clone());
        Ok(reference)
    }

    /// commit makes a commit, which waits for merge.
    pub fn commit(&mut self, r: &CommitRequest) -> Result<CommitResponse> {
        let chosen = r.by_reference.iter().map(|p| self.reference(p)).collect::<Result<HashSet<_>>>()?;
        let values = r.by_value.iter().map(|d| self.describe(d)).collect::<Result<Vec<_>>>()?;
        let provider = &self.provider;
        let mut builder = self.group.commit_builder().force_self_update(r.force_path);
        for change in values {
            builder = match change {
                Change::Add(kp) => builder.propose_adds([*kp]),
                Change::Remove(leaf) => builder.propose_removals([leaf]),
                Change::PreSharedKey(p) => builder.add_proposal(Proposal::PreSharedKey(p)),
                Change::Extensions(exts) => builder.propose_group_context_extensions(exts).map_err(refuse)?,
            };
        }
        let bundle = builder
            .load_psks(provider.storage())
            .map_err(refuse)?
            .use_ratchet_tree_extension(!r.external_tree)
            .build(provider.rand(), provider.crypto(), &self.signer, |p| {
                p.proposal_or_ref_type() == ProposalOrRefType::Proposal || chosen.contains(p.proposal_reference_ref())
            })
            .map_err(refuse)?
            .stage_commit(provider)
            .map_err(refuse)?;
        let mut resp = CommitResponse { commit: encode(bundle.commit())?, ..Default::default() };
        if let Some(welcome) = bundle.to_welcome_msg() {
            resp.welcome = encode(welcome)?;
        }
        if r.external_tree {
            resp.ratchet_tree = self.pending_tree()?;
        }
        Ok(resp)
    }

    /// pending_tree is the ratchet tree after the pending commit.
    fn pending_tree(&self) -> Result<Vec<u8>> {
        let pending = self.group.pending_commit().ok_or_else(|| malformed("no commit is pending"))?;
        let tree = pending
            .export_ratchet_tree(self.provider.crypto(), self.group.export_ratchet_tree())
            .map_err(refuse)?
            .ok_or_else(|| malformed("the commit makes no tree"))?;
        encode(tree)
    }

    /// merge lets the pending commit take effect.
    pub fn merge(&mut self) -> Result<()> {
        if self.group.pending_commit().is_none() {
            return Err(Status::failed_precondition("no commit is pending"));
        }
        self.refs.clear();
        self.group.merge_pending_commit(&self.provider).map_err(refuse)
    }

    /// follow processes the proposals that somebody's commit refers to, and the commit.
    pub fn follow(&mut self, proposals: &[Vec<u8>], commit: &[u8]) -> Result<()> {
        for p in proposals {
            self.reference(p)?;
        }
        let ProcessedMessageContent::StagedCommitMessage(staged) = self.process(commit)?.into_content() else {
            return Err(malformed("not somebody's commit"));
        };
        let removed = staged.self_removed();
        self.refs.clear();
        self.group.merge_staged_commit(&self.provider, *staged).map_err(refuse)?;
        if removed {
            return Err(Status::failed_precondition("the commit removes this member"));
        }
        Ok(())
    }

    pub fn protect(&mut self, plaintext: &[u8], aad: Vec<u8>) -> Result<Vec<u8>> {
        self.group.set_aad(aad);
        encode(self.group.create_message(&self.provider, &self.signer, plaintext).map_err(refuse)?)
    }

    /// unprotect returns the authenticated data and the text of an application message.
    pub fn unprotect(&mut self, data: &[u8]) -> Result<(Vec<u8>, Vec<u8>)> {
        let read = self.process(data)?;
        let aad = read.aad().to_vec();
        match read.into_content() {
            ProcessedMessageContent::ApplicationMessage(m) => Ok((aad, m.into_bytes())),
            _ => Err(malformed("not an application message")),
        }
    }

    /// group_info invites external joiners.
    pub fn group_info(&self, with_tree: bool) -> Result<Vec<u8>> {
        encode(self.group.export_group_info(self.provider.crypto(), &self.signer, with_tree).map_err(refuse)?)
    }
}
