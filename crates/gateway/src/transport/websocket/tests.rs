//! Tests of the stream, with tungstenite as the client.

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};

use super::*;

async fn pair(capacity: usize) -> (WebSocketStream<DuplexStream>, WebSocketIo<DuplexStream>) {
    let (near, far) = duplex(capacity);
    (WebSocketStream::from_raw_socket(near, Role::Client, None).await, WebSocketIo::new(far))
}

#[tokio::test]
async fn data_passes_in_both_directions() {
    let (mut client, mut server) = pair(1000).await;
    let data: Vec<u8> = (0..200_000_u32).map(|index| (index % 253) as u8).collect();
    let expected = data.clone();
    let sender = tokio::spawn(async move {
        for chunk in data.chunks(70_000) {
            client.send(Message::binary(chunk.to_vec())).await.unwrap();
        }
        let mut received = Vec::new();
        while received.len() < data.len() {
            received.extend(client.next().await.unwrap().unwrap().into_data());
        }
        assert_eq!(received, data);
        client
    });
    let mut received = vec![0; expected.len()];
    server.read_exact(&mut received).await.unwrap();
    assert_eq!(received, expected);
    server.write_all(&received).await.unwrap();
    server.flush().await.unwrap();
    drop(sender.await.unwrap());
}

#[tokio::test]
async fn a_ping_is_answered_while_the_server_only_reads() {
    let (mut client, mut server) = pair(10_000).await;
    let reader = tokio::spawn(async move { server.read(&mut [0; 100]).await.map(|length| (length, server)) });
    client.send(Message::Ping(b"one"[..].to_vec().into())).await.unwrap();
    assert_eq!(client.next().await.unwrap().unwrap(), Message::Pong(b"one"[..].to_vec().into()));
    client.send(Message::binary(b"x".to_vec())).await.unwrap();
    assert_eq!(reader.await.unwrap().unwrap().0, 1);
}

#[tokio::test]
async fn pings_without_a_reader_of_the_answers_need_no_memory() {
    let (mut client, mut server) = pair(2000).await;
    let sender = tokio::spawn(async move {
        for _ in 0..10_000 {
            client.send(Message::Ping(vec![7; 125].into())).await.unwrap();
        }
        client.send(Message::binary(b"x".to_vec())).await.unwrap();
        client
    });
    assert_eq!(server.read(&mut [0; 100]).await.unwrap(), 1);
    assert!(server.sending.capacity() <= 512, "{}", server.sending.capacity());
    drop(sender.await.unwrap());
}

#[tokio::test]
async fn the_client_closes_first() {
    let (mut client, mut server) = pair(1000).await;
    let frame = CloseFrame { code: 1001.into(), reason: "bye".into() };
    client.send(Message::Close(Some(frame))).await.unwrap();
    assert_eq!(server.read(&mut [0; 10]).await.unwrap(), 0);
    server.shutdown().await.unwrap();
    let Some(Ok(Message::Close(Some(answer)))) = client.next().await else { panic!("no Close") };
    assert_eq!(u16::from(answer.code), 1001);
    assert!(client.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn the_server_waits_for_the_clients_close_and_no_longer() {
    let (mut client, mut server) = pair(1000).await;
    client.send(Message::binary(b"unread".to_vec())).await.unwrap();
    let began = Instant::now();
    server.shutdown().await.unwrap();
    assert_eq!(began.elapsed(), CLOSE_TIMEOUT);
    assert_eq!(client.next().await.unwrap().unwrap(), Message::Close(None));
    let (mut client, mut server) = pair(1000).await;
    let closing = tokio::spawn(async move { server.shutdown().await });
    assert_eq!(client.next().await.unwrap().unwrap(), Message::Close(None));
    // tungstenite answers when it is polled again.
    assert!(client.next().await.is_none());
    closing.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_violation_is_an_error_with_a_close_frame() {
    let (mut client, mut server) = pair(1000).await;
    client.send(Message::binary(b"ok".to_vec())).await.unwrap();
    client.send(Message::text("no")).await.unwrap();
    let mut buffer = [0; 10];
    assert_eq!(server.read(&mut buffer).await.unwrap(), 2, "what came before is read");
    let error = server.read(&mut buffer).await.unwrap_err();
    assert!(error.to_string().contains("in binary frames"), "{error}");
    server.shutdown().await.unwrap();
    let Some(Ok(Message::Close(Some(answer)))) = client.next().await else { panic!("no Close") };
    assert_eq!(u16::from(answer.code), 1003);
}
