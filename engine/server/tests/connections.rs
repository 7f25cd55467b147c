//! Connections: compressed messages, and clients that never send anything.
mod harness;

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
};

use harness::{BOUND, Harness};
use kvproto::{
    grpc_health::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient},
    kvrpcpb::*,
    pdpb::{GetMembersRequest, pd_client::PdClient},
    tikvpb::tikv_client::TikvClient,
};
use server::config::GrpcCompressionType;
use tonic::{Response, codec::CompressionEncoding, transport::Channel};

/// Returns the compression of a reply.
fn encoding<T>(reply: &Response<T>) -> Option<&str> {
    reply.metadata().get("grpc-encoding").map(|value| value.to_str().unwrap())
}

const ENCODINGS: [CompressionEncoding; 2] = [CompressionEncoding::Gzip, CompressionEncoding::Deflate];

fn compressed_replies(configured: GrpcCompressionType, named: Option<&str>) {
    let h = Harness::start_with(1, move |config| config.server.grpc_compression_type = configured);
    let (ctx, plain) = h.leader();
    let value = vec![b'v'; 10_000];
    h.block_on(async {
        for encoding_of_request in ENCODINGS {
            let mut client = plain.clone().send_compressed(encoding_of_request);
            let put = RawPutRequest {
                context: Some(ctx.clone()),
                key: b"k".to_vec(),
                value: value.clone(),
                ..Default::default()
            };
            let reply = client.raw_put(put).await.unwrap().into_inner();
            assert!(reply.region_error.is_none() && reply.error.is_empty(), "{reply:?}");
            let get = RawGetRequest { context: Some(ctx.clone()), key: b"k".to_vec(), ..Default::default() };
            let reply = client.raw_get(get.clone()).await.unwrap();
            assert_eq!(encoding(&reply), None, "this client accepts no compressed replies");
            assert_eq!(reply.into_inner().value, value);
            let [gzip, deflate] = ENCODINGS;
            let mut client = client.accept_compressed(gzip).accept_compressed(deflate);
            let reply = client.raw_get(get).await.unwrap();
            assert_eq!(encoding(&reply), named);
            assert_eq!(reply.into_inner().value, value);
        }
    });
}

#[test]
fn replies_are_compressed_as_configured() {
    compressed_replies(GrpcCompressionType::None, None);
    compressed_replies(GrpcCompressionType::Gzip, Some("gzip"));
    compressed_replies(GrpcCompressionType::Deflate, Some("deflate"));
}

#[test]
fn stores_and_pd_accept_compressed_messages() {
    let h = Harness::start_with(3, |config| config.server.grpc_compression_type = GrpcCompressionType::Gzip);
    h.raw_put(b"k", &vec![b'v'; 100_000]);
    assert_eq!(h.raw_get(b"k").map(|value| value.len()), Some(100_000));
    h.block_on(async {
        for encoding in ENCODINGS {
            let client = PdClient::connect(format!("http://{}", h.pd.addr())).await.unwrap();
            let mut client = client.send_compressed(encoding);
            let members = client.get_members(GetMembersRequest::default()).await.unwrap().into_inner();
            assert_eq!(members.header.unwrap().cluster_id, h.pd.cluster_id());
        }
    });
}

/// Returns whether the other side closes the connection within the bound.
fn closes(addr: SocketAddr, greeting: &[u8]) -> bool {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(BOUND)).unwrap();
    stream.write_all(greeting).unwrap();
    let mut sent = Vec::new();
    // The connection is reset, or ends after the server's first bytes; a timeout is neither.
    match stream.read_to_end(&mut sent) {
        Ok(_) => true,
        Err(e) => e.kind() == std::io::ErrorKind::ConnectionReset,
    }
}

#[test]
fn a_silent_connection_is_closed() {
    let h = Harness::start(1);
    let (ctx, mut client) = h.leader();
    let (store, pd, status) = (h.store(0).addr(), h.pd.addr(), h.store(0).status_addr().unwrap());
    let half: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM";
    std::thread::scope(|scope| {
        let silent = [
            (store, &b""[..]),
            (store, half),
            (pd, b""),
            (pd, half),
            (status, b""),
            (status, b"GET /status HTTP/1.1\r\nHost:"),
        ];
        let waits = silent.map(|(addr, greeting)| scope.spawn(move || closes(addr, greeting)));
        for (wait, (addr, greeting)) in waits.into_iter().zip(silent) {
            let greeting = String::from_utf8_lossy(greeting);
            assert!(wait.join().unwrap(), "{addr} keeps a connection that sent only {greeting:?}");
        }
    });
    // A connection with a completed greeting stays open, although it was silent for as long.
    h.block_on(async {
        let get = RawGetRequest { context: Some(ctx), key: b"k".to_vec(), ..Default::default() };
        assert!(client.raw_get(get).await.unwrap().into_inner().not_found);
        let mut another = TikvClient::connect(format!("http://{store}")).await.unwrap();
        assert!(another.raw_get(RawGetRequest::default()).await.is_ok());
    });
}

#[test]
fn a_store_answers_the_health_checks_of_clients() {
    let h = Harness::start(1);
    h.block_on(async {
        let endpoint = Channel::from_shared(format!("http://{}", h.store(0).addr())).unwrap();
        let mut client = HealthClient::new(endpoint.connect().await.unwrap());
        let answer = client.check(HealthCheckRequest::default()).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving);
        let mut answers = client.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
        assert_eq!(answers.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    });
}
