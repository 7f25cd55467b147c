//! keyspacepb over gRPC (tikv/pd `server/keyspace_service.go`).
use futures::{Stream, StreamExt, stream};
use kvproto::{
    keyspacepb::{self, keyspace_server::Keyspace},
    pdpb,
};
use tonic::{Request, Response, Status, codegen::BoxStream};

use super::{PdService, Reply};
use crate::server::{
    keyspace::KeyspaceError,
    keyspace_watch::{Changes, KeyspaceWatch},
};

impl PdService {
    fn keyspace_reply(
        &self,
        found: Result<keyspacepb::KeyspaceMeta, KeyspaceError>,
    ) -> (Option<pdpb::ResponseHeader>, Option<keyspacepb::KeyspaceMeta>) {
        self.split(found.map(Some).map_err(|e| e.to_refusal()))
    }

    fn watched(
        self,
        watch: KeyspaceWatch,
    ) -> impl Stream<Item = Result<keyspacepb::WatchKeyspacesResponse, Status>> {
        stream::unfold((self, watch), |(service, mut watch)| async {
            let keyspaces = match watch.changes().await {
                Changes::All => service.cluster.all_keyspaces(),
                Changes::Of(keyspace) => vec![keyspace],
                Changes::End => return None,
            };
            let reply = keyspacepb::WatchKeyspacesResponse { header: service.header(), keyspaces };
            Some((Ok(reply), (service, watch)))
        })
    }
}

#[tonic::async_trait]
impl Keyspace for PdService {
    async fn load_keyspace(
        &self,
        request: Request<keyspacepb::LoadKeyspaceRequest>,
    ) -> Reply<keyspacepb::LoadKeyspaceResponse> {
        let request = self.admit(request)?;
        let (header, keyspace) = self.keyspace_reply(self.cluster.keyspace_by_name(&request.name));
        Ok(Response::new(keyspacepb::LoadKeyspaceResponse { header, keyspace }))
    }

    async fn load_keyspace_by_id(
        &self,
        request: Request<keyspacepb::LoadKeyspaceByIdRequest>,
    ) -> Reply<keyspacepb::LoadKeyspaceResponse> {
        use keyspacepb::load_keyspace_by_id_request::Keyspace::Id;
        let request = self.admit(request)?;
        let (header, keyspace) = self.keyspace_reply(match request.keyspace {
            Some(Id(id)) => self.cluster.keyspace_by_id(id),
            _ => Err(KeyspaceError::NotFound),
        });
        Ok(Response::new(keyspacepb::LoadKeyspaceResponse { header, keyspace }))
    }

    async fn watch_keyspaces(
        &self,
        request: Request<keyspacepb::WatchKeyspacesRequest>,
    ) -> Reply<BoxStream<keyspacepb::WatchKeyspacesResponse>> {
        self.admit(request)?;
        let watch = self.cluster.watch_keyspaces();
        Ok(Response::new(self.clone().watched(watch).boxed()))
    }

    async fn update_keyspace_state(
        &self,
        request: Request<keyspacepb::UpdateKeyspaceStateRequest>,
    ) -> Reply<keyspacepb::UpdateKeyspaceStateResponse> {
        use keyspacepb::update_keyspace_state_request::Keyspace::Id;
        let request = self.admit(request)?;
        let state = keyspacepb::KeyspaceState::try_from(request.state);
        let changed = match (request.keyspace, state) {
            (_, Err(_)) => Err(KeyspaceError::UnknownState(request.state)),
            (Some(Id(id)), Ok(state)) => self.cluster.update_keyspace_state_by_id(id, state),
            // An absent id is 0 in PD, which is the default keyspace.
            (None, Ok(_)) => Err(KeyspaceError::Default),
            (Some(_), Ok(_)) => Err(KeyspaceError::NotFound),
        };
        let (header, keyspace) = self.keyspace_reply(changed);
        Ok(Response::new(keyspacepb::UpdateKeyspaceStateResponse { header, keyspace }))
    }

    async fn get_all_keyspaces(
        &self,
        request: Request<keyspacepb::GetAllKeyspacesRequest>,
    ) -> Reply<keyspacepb::GetAllKeyspacesResponse> {
        use keyspacepb::get_all_keyspaces_request::StartKeyspace::StartId;
        let request = self.admit(request)?;
        let first = match request.start_keyspace {
            Some(StartId(id)) => id,
            _ => 0,
        };
        let found = self.cluster.keyspaces(first, request.limit as usize);
        let (header, keyspaces) = self.split(found.map_err(|e| e.to_refusal()));
        Ok(Response::new(keyspacepb::GetAllKeyspacesResponse { header, keyspaces }))
    }
}
