use super::*;
use crate::until;

/// A broker that sends everything back, and counts what it gets.
async fn echo() -> (SocketAddr, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let got = Arc::new(AtomicU64::new(0));
    let count = got.clone();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let count = count.clone();
            tokio::spawn(async move {
                let mut chunk = [0; 4096];
                while let Ok(bytes @ 1..) = stream.read(&mut chunk).await {
                    count.fetch_add(bytes as u64, Ordering::SeqCst);
                    if stream.write_all(&chunk[..bytes]).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    (address, got)
}

async fn client(proxy: &Proxy) -> TcpStream {
    TcpStream::connect(("127.0.0.1", proxy.port())).await.unwrap()
}

async fn round_trip(stream: &mut TcpStream, text: &[u8]) -> Duration {
    let began = Instant::now();
    stream.write_all(text).await.unwrap();
    let mut back = vec![0; text.len()];
    stream.read_exact(&mut back).await.unwrap();
    assert_eq!(back, text);
    began.elapsed()
}

#[tokio::test]
async fn everything_passes_and_is_counted() {
    let (broker, _) = echo().await;
    let proxy = Proxy::to(broker).await;
    let mut one = client(&proxy).await;
    let mut two = client(&proxy).await;
    round_trip(&mut one, &[7; 100_000]).await;
    round_trip(&mut two, b"hello").await;
    assert_eq!((proxy.connections_total(), proxy.connections_open()), (2, 2));
    assert_eq!((proxy.bytes(Direction::Up), proxy.bytes(Direction::Down)), (100_005, 100_005));
    drop(one);
    until("one has ended", async || proxy.connections_open() == 1).await;
}

#[tokio::test]
async fn a_cut_resets_what_is_open_and_lets_new_ones_in() {
    let (broker, _) = echo().await;
    let proxy = Proxy::to(broker).await;
    let mut stream = client(&proxy).await;
    round_trip(&mut stream, b"hello").await;
    proxy.cut();
    assert!(stream.read_u8().await.is_err());
    round_trip(&mut client(&proxy).await, b"again").await;
}

#[tokio::test]
async fn exactly_so_many_bytes_pass_before_a_cut() {
    let (broker, got) = echo().await;
    let proxy = Proxy::to(broker).await;
    let mut stream = client(&proxy).await;
    proxy.cut_after(Direction::Up, 1234);
    stream.write_all(&[7; 1000]).await.unwrap();
    until("the first bytes are there", async || got.load(Ordering::SeqCst) == 1000).await;
    assert!(proxy.cut_pending(Direction::Up));
    stream.write_all(&[7; 1000]).await.unwrap();
    until("it is cut", async || proxy.connections_open() == 0).await;
    assert!(got.load(Ordering::SeqCst) <= 1234);
    assert_eq!(proxy.bytes(Direction::Up), 1234);
    assert!(!proxy.cut_pending(Direction::Up));
    round_trip(&mut client(&proxy).await, b"again").await;
}

#[tokio::test]
async fn what_stalls_goes_on_later() {
    let (broker, got) = echo().await;
    let proxy = Proxy::to(broker).await;
    let mut stream = client(&proxy).await;
    proxy.set(Direction::Up, Flow::Stall);
    stream.write_all(b"hello").await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(got.load(Ordering::SeqCst), 0);
    proxy.pass();
    let mut back = [0; 5];
    stream.read_exact(&mut back).await.unwrap();
    assert_eq!(&back, b"hello");
}

#[tokio::test]
async fn delays_and_rates_are_kept() {
    let (broker, _) = echo().await;
    let proxy = Proxy::to(broker).await;
    let mut stream = client(&proxy).await;
    proxy.set(Direction::Down, Flow::Delay(Duration::from_millis(150)));
    assert!(round_trip(&mut stream, b"hello").await >= Duration::from_millis(150));
    proxy.pass();
    proxy.set(Direction::Up, Flow::Throttle(10_000));
    assert!(round_trip(&mut stream, &[7; 2_000]).await >= Duration::from_millis(200));
}

#[tokio::test]
async fn a_refusing_one_lets_nobody_in_until_it_passes() {
    let (broker, _) = echo().await;
    let proxy = Proxy::to(broker).await;
    proxy.refuse();
    let mut stream = client(&proxy).await;
    assert!(stream.read_u8().await.is_err());
    proxy.pass();
    round_trip(&mut client(&proxy).await, b"again").await;
}
