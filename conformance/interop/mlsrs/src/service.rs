//! The gRPC service: each call is a method of Client.
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};

use tonic::{Request, Response, Status};

use crate::client::Client;
use crate::failure::Result;
use crate::wire::mls_client_server::MlsClient;
use crate::wire::*;

pub struct Service(Mutex<Client>);

impl Service {
    pub fn new() -> Service {
        Service(Mutex::new(Client::default()))
    }

    /// Answers a call. A panic is the failure of that call alone.
    fn answer<T>(&self, call: impl FnOnce(&mut Client) -> Result<T>) -> std::result::Result<Response<T>, Status> {
        let mut client = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match catch_unwind(AssertUnwindSafe(|| call(&mut client))) {
            Ok(answer) => Ok(Response::new(answer?)),
            Err(_) => Err(Status::internal("mls-rs panics: standard error has the text")),
        }
    }
}

macro_rules! serve {
    ($($call:ident($request:ident) -> $response:ident;)*) => {
        #[tonic::async_trait]
        impl MlsClient for Service {
            $(
                async fn $call(
                    &self,
                    request: Request<$request>,
                ) -> std::result::Result<Response<$response>, Status> {
                    self.answer(|client| client.$call(request.into_inner()))
                }
            )*
        }
    };
}

serve! {
    name(NameRequest) -> NameResponse;
    supported_ciphersuites(SupportedCiphersuitesRequest) -> SupportedCiphersuitesResponse;
    create_group(CreateGroupRequest) -> CreateGroupResponse;
    create_key_package(CreateKeyPackageRequest) -> CreateKeyPackageResponse;
    join_group(JoinGroupRequest) -> JoinGroupResponse;
    external_join(ExternalJoinRequest) -> ExternalJoinResponse;
    group_info(GroupInfoRequest) -> GroupInfoResponse;
    state_auth(StateAuthRequest) -> StateAuthResponse;
    export(ExportRequest) -> ExportResponse;
    protect(ProtectRequest) -> ProtectResponse;
    unprotect(UnprotectRequest) -> UnprotectResponse;
    store_psk(StorePskRequest) -> StorePskResponse;
    add_proposal(AddProposalRequest) -> ProposalResponse;
    update_proposal(UpdateProposalRequest) -> ProposalResponse;
    remove_proposal(RemoveProposalRequest) -> ProposalResponse;
    external_psk_proposal(ExternalPskProposalRequest) -> ProposalResponse;
    resumption_psk_proposal(ResumptionPskProposalRequest) -> ProposalResponse;
    group_context_extensions_proposal(GroupContextExtensionsProposalRequest) -> ProposalResponse;
    commit(CommitRequest) -> CommitResponse;
    handle_commit(HandleCommitRequest) -> HandleCommitResponse;
    handle_pending_commit(HandlePendingCommitRequest) -> HandleCommitResponse;
    re_init_proposal(ReInitProposalRequest) -> ProposalResponse;
    re_init_commit(CommitRequest) -> CommitResponse;
    handle_pending_re_init_commit(HandlePendingCommitRequest) -> HandleReInitCommitResponse;
    handle_re_init_commit(HandleCommitRequest) -> HandleReInitCommitResponse;
    re_init_welcome(ReInitWelcomeRequest) -> CreateSubgroupResponse;
    handle_re_init_welcome(HandleReInitWelcomeRequest) -> JoinGroupResponse;
    create_branch(CreateBranchRequest) -> CreateSubgroupResponse;
    handle_branch(HandleBranchRequest) -> HandleBranchResponse;
    new_member_add_proposal(NewMemberAddProposalRequest) -> NewMemberAddProposalResponse;
    create_external_signer(CreateExternalSignerRequest) -> CreateExternalSignerResponse;
    add_external_signer(AddExternalSignerRequest) -> ProposalResponse;
    external_signer_proposal(ExternalSignerProposalRequest) -> ProposalResponse;
    free(FreeRequest) -> FreeResponse;
}
