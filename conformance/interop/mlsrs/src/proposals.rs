//! The calls that make proposals of members.
use mls_rs::extension::built_in::ExternalSendersExt;
use mls_rs::identity::SigningIdentity;

use crate::change::Change;
use crate::client::Client;
use crate::convert::decode;
use crate::failure::Result;
use crate::member::encoded;
use crate::wire::*;

impl Client {
    fn propose(&mut self, state: u32, d: ProposalDescription) -> Result<ProposalResponse> {
        let m = self.member(state)?;
        let change = Change::described(&d, &m.group.roster())?;
        Ok(ProposalResponse { proposal: encoded(change.propose(&mut m.group)?)? })
    }

    pub fn add_proposal(&mut self, r: AddProposalRequest) -> Result<ProposalResponse> {
        self.propose(r.state_id, ProposalDescription { key_package: r.key_package, ..described("add") })
    }

    pub fn update_proposal(&mut self, r: UpdateProposalRequest) -> Result<ProposalResponse> {
        let group = &mut self.member(r.state_id)?.group;
        Ok(ProposalResponse { proposal: encoded(group.propose_update(Vec::new())?)? })
    }

    pub fn remove_proposal(&mut self, r: RemoveProposalRequest) -> Result<ProposalResponse> {
        self.propose(r.state_id, ProposalDescription { removed_id: r.removed_id, ..described("remove") })
    }

    pub fn external_psk_proposal(&mut self, r: ExternalPskProposalRequest) -> Result<ProposalResponse> {
        self.propose(r.state_id, ProposalDescription { psk_id: r.psk_id, ..described("externalPSK") })
    }

    pub fn resumption_psk_proposal(&mut self, r: ResumptionPskProposalRequest) -> Result<ProposalResponse> {
        self.propose(r.state_id, ProposalDescription { epoch_id: r.epoch_id, ..described("resumptionPSK") })
    }

    pub fn group_context_extensions_proposal(
        &mut self,
        r: GroupContextExtensionsProposalRequest,
    ) -> Result<ProposalResponse> {
        let d = ProposalDescription { extensions: r.extensions, ..described("groupContextExtensions") };
        self.propose(r.state_id, d)
    }

    pub fn re_init_proposal(&mut self, r: ReInitProposalRequest) -> Result<ProposalResponse> {
        let d = ProposalDescription {
            group_id: r.group_id,
            cipher_suite: r.cipher_suite,
            extensions: r.extensions,
            ..described("reinit")
        };
        self.propose(r.state_id, d)
    }

    /// Proposes to list another external sender, after those that the group lists.
    pub fn add_external_signer(&mut self, r: AddExternalSignerRequest) -> Result<ProposalResponse> {
        let group = &mut self.member(r.state_id)?.group;
        let sender: SigningIdentity = decode(&r.external_sender)?;
        let mut list = group.context().extensions().clone();
        let mut senders = match list.get_as::<ExternalSendersExt>()? {
            Some(ext) => ext.allowed_senders,
            None => Vec::new(),
        };
        senders.push(sender);
        list.set_from(ExternalSendersExt::new(senders))?;
        Ok(ProposalResponse { proposal: encoded(Change::Extensions(list).propose(group)?)? })
    }
}

fn described(kind: &str) -> ProposalDescription {
    ProposalDescription { proposal_type: kind.into(), ..Default::default() }
}
