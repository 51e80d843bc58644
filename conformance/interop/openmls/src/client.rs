//! The working group's interop service on OpenMLS. One method per call.

use std::collections::HashMap;

use openmls::messages::group_info::VerifiableGroupInfo;
use openmls::prelude::tls_codec::Deserialize as _;
use openmls::prelude::*;
use openmls_basic_credential::SignatureKeyPair;
use openmls_rust_crypto::{MemoryStorage, OpenMlsRustCrypto};
use tonic::Status;

use crate::convert::*;
use crate::member::{credential, external_psk, psk, store_psk, Member, Newcomer, NO_BRANCH, NO_REINIT};
use crate::proto::*;

/// The version that Cargo.toml pins.
const NAME: &str = "openmls 0.9.2";

/// Outsider is an external sender.
struct Outsider {
    provider: OpenMlsRustCrypto,
    signer: SignatureKeyPair,
}

enum Handle {
    Member(Box<Member>),
    Newcomer(Box<Newcomer>),
    Outsider(Box<Outsider>),
}

#[derive(Default)]
pub struct Client {
    last: u32,
    handles: HashMap<u32, Handle>,
    /// All signature keys there have been: whoever joins anew and removes its former self
    /// needs that one's, by which OpenMLS knows it.
    keys: MemoryStorage,
}

impl Client {
    fn put(&mut self, thing: Handle) -> u32 {
        self.last += 1;
        self.handles.insert(self.last, thing);
        self.last
    }

    fn member(&mut self, id: u32) -> Result<&mut Member> {
        match self.handles.get_mut(&id) {
            Some(Handle::Member(m)) => Ok(m),
            _ => Err(Status::not_found(format!("no state has the handle {id}"))),
        }
    }

    fn joined(&mut self, m: Member) -> (u32, Vec<u8>) {
        let authenticator = m.authenticator();
        (self.put(Handle::Member(Box::new(m))), authenticator)
    }

    fn new_signer(&self, suite: Ciphersuite) -> Result<SignatureKeyPair> {
        let signer = SignatureKeyPair::new(suite.signature_algorithm()).map_err(refuse)?;
        signer.store(&self.keys).map_err(refuse)?;
        Ok(signer)
    }

    fn newcomer(&self, number: u32) -> Result<(Newcomer, Ciphersuite)> {
        let provider = OpenMlsRustCrypto::default();
        let suite = suite(provider.crypto(), number)?;
        Ok((Newcomer { provider, signer: self.new_signer(suite)? }, suite))
    }

    /// former_signer finds the signature key of the member that an external joiner was.
    fn former_signer(&self, tree: &RatchetTreeIn, identity: &[u8], suite: Ciphersuite) -> Result<SignatureKeyPair> {
        let leaf = tree
            .leaves()
            .find(|l| l.credential().serialized_content() == identity)
            .ok_or_else(|| Status::not_found("no member has that identity"))?;
        SignatureKeyPair::read(&self.keys, leaf.signature_key().as_slice(), suite.signature_algorithm()).ok_or_else(
            || unsupported("OpenMLS removes the member that has the joiner's signature key, which is not here"),
        )
    }

    fn propose(&mut self, id: u32, d: ProposalDescription) -> Result<ProposalResponse> {
        Ok(ProposalResponse { proposal: self.member(id)?.propose(&d)? })
    }

    pub fn name(&mut self, _: NameRequest) -> Result<NameResponse> {
        Ok(NameResponse { name: NAME.into() })
    }

    pub fn supported_ciphersuites(&mut self, _: SupportedCiphersuitesRequest) -> Result<SupportedCiphersuitesResponse> {
        let all = OpenMlsRustCrypto::default().crypto().supported_ciphersuites();
        Ok(SupportedCiphersuitesResponse { ciphersuites: all.into_iter().map(|s| u32::from(u16::from(s))).collect() })
    }

    pub fn create_group(&mut self, r: CreateGroupRequest) -> Result<CreateGroupResponse> {
        let (newcomer, suite) = self.newcomer(r.cipher_suite)?;
        let m = newcomer.create(&r.group_id, suite, r.identity, r.encrypt_handshake)?;
        Ok(CreateGroupResponse { state_id: self.joined(m).0 })
    }

    /// create_key_package keeps the leaf's private key to itself, as OpenMLS does.
    pub fn create_key_package(&mut self, r: CreateKeyPackageRequest) -> Result<CreateKeyPackageResponse> {
        let (newcomer, suite) = self.newcomer(r.cipher_suite)?;
        let made = newcomer.key_package(suite, r.identity)?;
        let init_priv = made.init_private_key().to_vec();
        let signature_priv = private_key(&newcomer.signer)?;
        Ok(CreateKeyPackageResponse {
            transaction_id: self.put(Handle::Newcomer(Box::new(newcomer))),
            key_package: encode(MlsMessageOut::from(made))?,
            init_priv,
            encryption_priv: Vec::new(),
            signature_priv,
        })
    }

    pub fn join_group(&mut self, r: JoinGroupRequest) -> Result<JoinGroupResponse> {
        let Some(Handle::Newcomer(newcomer)) = self.handles.remove(&r.transaction_id) else {
            return Err(Status::not_found(format!("no transaction has the handle {}", r.transaction_id)));
        };
        let m = newcomer.join(&r.welcome, &r.ratchet_tree, r.encrypt_handshake)?;
        let (state_id, epoch_authenticator) = self.joined(m);
        Ok(JoinGroupResponse { state_id, epoch_authenticator })
    }

    pub fn external_join(&mut self, r: ExternalJoinRequest) -> Result<ExternalJoinResponse> {
        let info = group_info(&r.group_info)?;
        let apart = tree(&r.ratchet_tree)?;
        let (mut newcomer, suite) = self.newcomer(u32::from(u16::from(info.ciphersuite())))?;
        if r.remove_prior {
            let inside = info.extensions().ratchet_tree().map(|e| e.ratchet_tree());
            let nodes = inside.or(apart.as_ref()).ok_or_else(|| malformed("no ratchet tree"))?;
            newcomer.signer = self.former_signer(nodes, &r.identity, suite)?;
        }
        let mut psks = Vec::new();
        for p in r.psks {
            store_psk(&newcomer.provider, p.psk_id.clone(), &p.psk_secret)?;
            psks.push(PreSharedKeyProposal::new(psk(&newcomer.provider, suite, external_psk(p.psk_id))?));
        }
        let (m, commit) = newcomer.join_external(info, apart, r.identity, r.encrypt_handshake, psks)?;
        let (state_id, epoch_authenticator) = self.joined(m);
        Ok(ExternalJoinResponse { state_id, commit, epoch_authenticator })
    }

    pub fn group_info(&mut self, r: GroupInfoRequest) -> Result<GroupInfoResponse> {
        let m = self.member(r.state_id)?;
        let ratchet_tree = if r.external_tree { encode(m.group.export_ratchet_tree())? } else { Vec::new() };
        Ok(GroupInfoResponse { group_info: m.group_info(!r.external_tree)?, ratchet_tree })
    }

    pub fn state_auth(&mut self, r: StateAuthRequest) -> Result<StateAuthResponse> {
        Ok(StateAuthResponse { state_auth_secret: self.member(r.state_id)?.authenticator() })
    }

    pub fn export(&mut self, r: ExportRequest) -> Result<ExportResponse> {
        let m = self.member(r.state_id)?;
        let length = usize::try_from(r.key_length).map_err(refuse)?;
        let exported_secret =
            m.group.export_secret(m.provider.crypto(), &r.label, &r.context, length).map_err(refuse)?;
        Ok(ExportResponse { exported_secret })
    }

    pub fn protect(&mut self, r: ProtectRequest) -> Result<ProtectResponse> {
        let m = self.member(r.state_id)?;
        Ok(ProtectResponse { ciphertext: m.protect(&r.plaintext, r.authenticated_data)? })
    }

    pub fn unprotect(&mut self, r: UnprotectRequest) -> Result<UnprotectResponse> {
        let (authenticated_data, plaintext) = self.member(r.state_id)?.unprotect(&r.ciphertext)?;
        Ok(UnprotectResponse { authenticated_data, plaintext })
    }

    pub fn store_psk(&mut self, r: StorePskRequest) -> Result<StorePskResponse> {
        let provider = match self.handles.get(&r.state_or_transaction_id) {
            Some(Handle::Member(m)) => &m.provider,
            Some(Handle::Newcomer(n)) => &n.provider,
            _ => return Err(Status::not_found("no state or transaction has that handle")),
        };
        store_psk(provider, r.psk_id, &r.psk_secret)?;
        Ok(StorePskResponse {})
    }

    pub fn add_proposal(&mut self, r: AddProposalRequest) -> Result<ProposalResponse> {
        self.propose(r.state_id, ProposalDescription { key_package: r.key_package, ..of_type("add") })
    }

    pub fn update_proposal(&mut self, r: UpdateProposalRequest) -> Result<ProposalResponse> {
        self.propose(r.state_id, of_type("update"))
    }

    pub fn remove_proposal(&mut self, r: RemoveProposalRequest) -> Result<ProposalResponse> {
        self.propose(r.state_id, ProposalDescription { removed_id: r.removed_id, ..of_type("remove") })
    }

    pub fn external_psk_proposal(&mut self, r: ExternalPskProposalRequest) -> Result<ProposalResponse> {
        self.propose(r.state_id, ProposalDescription { psk_id: r.psk_id, ..of_type("externalPSK") })
    }

    pub fn resumption_psk_proposal(&mut self, r: ResumptionPskProposalRequest) -> Result<ProposalResponse> {
        self.propose(r.state_id, ProposalDescription { epoch_id: r.epoch_id, ..of_type("resumptionPSK") })
    }

    pub fn group_context_extensions_proposal(
        &mut self,
        r: GroupContextExtensionsProposalRequest,
    ) -> Result<ProposalResponse> {
        self.propose(r.state_id, ProposalDescription { extensions: r.extensions, ..of_type("groupContextExtensions") })
    }

    pub fn commit(&mut self, r: CommitRequest) -> Result<CommitResponse> {
        self.member(r.state_id)?.commit(&r)
    }

    pub fn handle_commit(&mut self, r: HandleCommitRequest) -> Result<HandleCommitResponse> {
        let m = self.member(r.state_id)?;
        m.follow(&r.proposal, &r.commit)?;
        Ok(HandleCommitResponse { state_id: r.state_id, epoch_authenticator: m.authenticator() })
    }

    pub fn handle_pending_commit(&mut self, r: HandlePendingCommitRequest) -> Result<HandleCommitResponse> {
        let m = self.member(r.state_id)?;
        m.merge()?;
        Ok(HandleCommitResponse { state_id: r.state_id, epoch_authenticator: m.authenticator() })
    }

    pub fn re_init_proposal(&mut self, _: ReInitProposalRequest) -> Result<ProposalResponse> {
        Err(unsupported(NO_REINIT))
    }

    pub fn re_init_commit(&mut self, _: CommitRequest) -> Result<CommitResponse> {
        Err(unsupported(NO_REINIT))
    }

    pub fn handle_pending_re_init_commit(
        &mut self,
        _: HandlePendingCommitRequest,
    ) -> Result<HandleReInitCommitResponse> {
        Err(unsupported(NO_REINIT))
    }

    pub fn handle_re_init_commit(&mut self, _: HandleCommitRequest) -> Result<HandleReInitCommitResponse> {
        Err(unsupported(NO_REINIT))
    }

    pub fn re_init_welcome(&mut self, _: ReInitWelcomeRequest) -> Result<CreateSubgroupResponse> {
        Err(unsupported(NO_REINIT))
    }

    pub fn handle_re_init_welcome(&mut self, _: HandleReInitWelcomeRequest) -> Result<JoinGroupResponse> {
        Err(unsupported(NO_REINIT))
    }

    pub fn create_branch(&mut self, _: CreateBranchRequest) -> Result<CreateSubgroupResponse> {
        Err(unsupported(NO_BRANCH))
    }

    pub fn handle_branch(&mut self, _: HandleBranchRequest) -> Result<HandleBranchResponse> {
        Err(unsupported(NO_BRANCH))
    }

    pub fn new_member_add_proposal(&mut self, r: NewMemberAddProposalRequest) -> Result<NewMemberAddProposalResponse> {
        let info = group_info(&r.group_info)?;
        let (newcomer, suite) = self.newcomer(u32::from(u16::from(info.ciphersuite())))?;
        let made = newcomer.key_package(suite, r.identity)?;
        let init_priv = made.init_private_key().to_vec();
        let (group_id, epoch) = (info.group_id().clone(), info.epoch());
        let proposal = JoinProposal::new::<MemoryStorage>(made.into_key_package(), group_id, epoch, &newcomer.signer)
            .map_err(refuse)?;
        let signature_priv = private_key(&newcomer.signer)?;
        Ok(NewMemberAddProposalResponse {
            transaction_id: self.put(Handle::Newcomer(Box::new(newcomer))),
            proposal: encode(proposal)?,
            init_priv,
            encryption_priv: Vec::new(),
            signature_priv,
        })
    }

    pub fn create_external_signer(&mut self, r: CreateExternalSignerRequest) -> Result<CreateExternalSignerResponse> {
        let (Newcomer { provider, signer }, _) = self.newcomer(r.cipher_suite)?;
        let as_credential = credential(r.identity, &signer);
        let sender = ExternalSender::new(as_credential.signature_key, as_credential.credential);
        Ok(CreateExternalSignerResponse {
            signer_id: self.put(Handle::Outsider(Box::new(Outsider { provider, signer }))),
            external_sender: encode(sender)?,
        })
    }

    pub fn add_external_signer(&mut self, r: AddExternalSignerRequest) -> Result<ProposalResponse> {
        let sender = decode(&r.external_sender)?;
        Ok(ProposalResponse { proposal: self.member(r.state_id)?.propose_sender(sender)? })
    }

    pub fn external_signer_proposal(&mut self, r: ExternalSignerProposalRequest) -> Result<ProposalResponse> {
        let Some(Handle::Outsider(outsider)) = self.handles.get(&r.signer_id) else {
            return Err(Status::not_found(format!("no external signer has the handle {}", r.signer_id)));
        };
        let info = group_info(&r.group_info)?;
        let d = r.description.unwrap_or_default();
        let message = outsider.propose(info, tree(&r.ratchet_tree)?, r.signer_index, &d)?;
        Ok(ProposalResponse { proposal: encode(message)? })
    }

    pub fn free(&mut self, r: FreeRequest) -> Result<FreeResponse> {
        match self.handles.remove(&r.state_id) {
            Some(_) => Ok(FreeResponse {}),
            None => Err(Status::not_found(format!("nothing has the handle {}", r.state_id))),
        }
    }
}

impl Outsider {
    /// propose makes a proposal of an external sender.
    fn propose(
        &self,
        info: VerifiableGroupInfo,
        apart: Option<RatchetTreeIn>,
        index: u32,
        d: &ProposalDescription,
    ) -> Result<MlsMessageOut> {
        let (group_id, epoch) = (info.group_id().clone(), info.epoch());
        let (signer, index) = (&self.signer, SenderExtensionIndex::new(index));
        match d.proposal_type.as_slice() {
            b"add" => {
                let kp = key_package(self.provider.crypto(), &d.key_package)?;
                ExternalProposal::new_add::<OpenMlsRustCrypto>(kp, group_id, epoch, signer, index).map_err(refuse)
            }
            b"remove" => {
                let leaf = self.leaf_of(info, apart, &d.removed_id)?;
                ExternalProposal::new_remove::<OpenMlsRustCrypto>(leaf, group_id, epoch, signer, index).map_err(refuse)
            }
            b"groupContextExtensions" => {
                let exts = extensions(&d.extensions)?;
                ExternalProposal::new_group_context_extensions::<OpenMlsRustCrypto>(
                    exts, group_id, epoch, signer, index,
                )
                .map_err(refuse)
            }
            _ => Err(unsupported("ExternalProposal of OpenMLS makes Adds, Removes and GroupContextExtensions alone")),
        }
    }

    fn leaf_of(
        &self,
        info: VerifiableGroupInfo,
        apart: Option<RatchetTreeIn>,
        identity: &[u8],
    ) -> Result<LeafNodeIndex> {
        let inside = info.extensions().ratchet_tree().map(|e| e.ratchet_tree().clone());
        let tree = inside.or(apart).ok_or_else(|| malformed("no ratchet tree"))?;
        let storage = MemoryStorage::default();
        let (group, _) = PublicGroup::from_external(self.provider.crypto(), &storage, tree, info, ProposalStore::new())
            .map_err(refuse)?;
        let found = group.members().find(|m| m.credential.serialized_content() == identity);
        found.map(|m| m.index).ok_or_else(|| Status::not_found("no member has that identity"))
    }
}

fn of_type(name: &str) -> ProposalDescription {
    ProposalDescription { proposal_type: name.into(), ..Default::default() }
}

/// private_key is the first field of an encoded key pair.
fn private_key(signer: &SignatureKeyPair) -> Result<Vec<u8>> {
    let data = encode(signer)?;
    VLBytes::tls_deserialize(&mut data.as_slice()).map(|b| b.as_slice().to_vec()).map_err(refuse)
}
