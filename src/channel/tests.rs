//! Order, backpressure, and either side leaving at any moment; every wait here has an end.

use proptest::prelude::*;
use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use super::*;

/// Runs `work` on a thread and fails if it has not ended in time.
fn in_time<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, wait) = mpsc::channel();
    thread::spawn(move || done.send(work()));
    wait.recv_timeout(Duration::from_secs(20))
        .expect("hangs or panics")
}

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn items_come_in_order_and_the_end_after_what_is_queued() {
    let (sender, mut receiver) = bounded(3);
    for item in 0..3 {
        sender.send(item).unwrap();
    }
    assert_eq!(receiver.try_recv(), TryRecv::Item(0));
    drop(sender);
    assert_eq!(receiver.recv(), Some(1));
    assert_eq!(receiver.try_recv(), TryRecv::Item(2));
    assert_eq!(receiver.try_recv(), TryRecv::Ended);
    assert_eq!(receiver.recv(), None);
}

#[test]
fn a_full_channel_holds_the_producer_back() {
    let (sender, mut receiver) = bounded(2);
    let meter = receiver.meter();
    let producer = thread::spawn(move || (0..10).try_for_each(|item| sender.send(item)));
    while meter.read().sent < 2 {
        thread::yield_now();
    }
    thread::sleep(Duration::from_millis(50));
    assert_eq!((meter.read().sent, meter.read().queued), (2, 2));
    let all = in_time(move || std::iter::from_fn(|| receiver.recv()).collect::<Vec<_>>());
    assert_eq!(all, (0..10).collect::<Vec<_>>());
    producer.join().unwrap().unwrap();
    let stats = meter.read();
    assert_eq!((stats.sent, stats.received, stats.queued), (10, 10, 0));
    assert!(stats.blocked_out >= Duration::from_millis(1), "{stats:?}");
    assert!((1.0..=2.0).contains(&stats.occupancy()), "{stats:?}");
}

#[test]
fn a_wait_with_an_end_sees_the_item_the_end_and_neither() {
    let (sender, mut receiver) = bounded(1);
    let short = Duration::from_millis(5);
    assert_eq!(receiver.recv_within(short), TryRecv::Empty);
    sender.send(7).unwrap();
    assert_eq!(receiver.recv_within(short), TryRecv::Item(7));
    let producer = thread::spawn(move || {
        thread::sleep(Duration::from_millis(20));
        sender.send(8).unwrap();
    });
    let long = Duration::from_secs(60);
    assert_eq!(
        in_time(move || (receiver.recv_within(long), receiver.recv_within(long))),
        (TryRecv::Item(8), TryRecv::Ended)
    );
    producer.join().unwrap();
}

#[test]
fn a_channel_of_depth_0_holds_one() {
    let (sender, mut receiver) = bounded(0);
    sender.send(1).unwrap();
    assert_eq!(receiver.recv(), Some(1));
}

#[test]
fn a_waiting_producer_hears_that_the_receiver_has_gone() {
    let (sender, receiver) = bounded(1);
    sender.send(0).unwrap();
    let watch = sender.watch();
    let producer = thread::spawn(move || sender.send(1));
    thread::sleep(Duration::from_millis(20));
    assert!(!watch.is_closed());
    drop(receiver);
    assert!(watch.is_closed());
    assert_eq!(in_time(move || producer.join().unwrap()), Err(Closed));
}

#[test]
fn a_waiting_consumer_hears_that_the_sender_has_gone() {
    let (sender, mut receiver) = bounded::<u8>(1);
    let meter = sender.meter();
    let consumer = thread::spawn(move || receiver.recv());
    thread::sleep(Duration::from_millis(50));
    drop(sender);
    assert_eq!(in_time(move || consumer.join().unwrap()), None);
    assert!(meter.read().blocked_in >= Duration::from_millis(1));
}

#[test]
fn a_producer_that_panics_ends_the_stream() {
    let (sender, mut receiver) = bounded(1);
    let producer = thread::spawn(move || {
        sender.send(1).unwrap();
        panic!("the producer's");
    });
    assert_eq!(
        in_time(move || (receiver.recv(), receiver.recv())),
        (Some(1), None)
    );
    assert!(producer.join().is_err());
}

#[test]
fn closing_drops_what_is_queued_and_is_the_end_for_both() {
    let (sender, mut receiver) = bounded(2);
    let item = Arc::new(());
    sender.send(Arc::clone(&item)).unwrap();
    receiver.close();
    assert_eq!(Arc::strong_count(&item), 1);
    assert_eq!(sender.send(item), Err(Closed));
    assert_eq!(
        in_time(move || (receiver.recv(), receiver.try_recv())),
        (None, TryRecv::Ended)
    );
}

#[test]
fn a_closer_ends_the_wait_of_both_sides() {
    let (sender, mut receiver) = bounded(1);
    let closer = receiver.closer();
    let consumer = thread::spawn(move || receiver.recv());
    thread::sleep(Duration::from_millis(20));
    closer.clone().close();
    assert_eq!(in_time(move || consumer.join().unwrap()), None);
    assert_eq!(sender.send(1), Err(Closed));

    let (sender, receiver) = bounded(1);
    sender.send(0).unwrap();
    let producer = thread::spawn(move || sender.send(1));
    thread::sleep(Duration::from_millis(20));
    receiver.closer().close();
    assert_eq!(in_time(move || producer.join().unwrap()), Err(Closed));
}

#[test]
fn a_closer_wakes_a_task_that_waits() {
    let (_sender, mut receiver) = bounded::<u8>(1);
    let count = Arc::new(Count::default());
    let waker = Waker::from(Arc::clone(&count));
    let mut context = Context::from_waker(&waker);
    assert_eq!(receiver.poll_recv(&mut context), Poll::Pending);
    let closer = receiver.closer();
    closer.close();
    closer.close();
    assert_eq!(count.0.load(Ordering::SeqCst), 1);
    assert_eq!(receiver.poll_recv(&mut context), Poll::Ready(None));
}

#[test]
fn the_last_waker_is_woken_and_only_once() {
    let (sender, mut receiver) = bounded(2);
    let (first, second) = (Arc::new(Count::default()), Arc::new(Count::default()));
    for count in [&first, &second, &second] {
        let waker = Waker::from(Arc::clone(count));
        assert_eq!(
            receiver.poll_recv(&mut Context::from_waker(&waker)),
            Poll::Pending
        );
    }
    // The replaced waker is not kept.
    assert_eq!(
        (Arc::strong_count(&first), Arc::strong_count(&second)),
        (1, 2)
    );
    sender.send(1).unwrap();
    sender.send(2).unwrap();
    assert_eq!(first.0.load(Ordering::SeqCst), 0);
    assert_eq!(second.0.load(Ordering::SeqCst), 1);
    let mut context = Context::from_waker(Waker::noop());
    assert_eq!(receiver.poll_recv(&mut context), Poll::Ready(Some(1)));
    assert_eq!(receiver.poll_recv(&mut context), Poll::Ready(Some(2)));
    let waker = Waker::from(Arc::clone(&second));
    assert_eq!(
        receiver.poll_recv(&mut Context::from_waker(&waker)),
        Poll::Pending
    );
    drop(sender);
    assert_eq!(second.0.load(Ordering::SeqCst), 2);
    assert_eq!(receiver.poll_recv(&mut context), Poll::Ready(None));
}

/// A waker that holds the sender, whose drop locks the channel: it would never return if that happened under the lock.
struct Holding(#[expect(dead_code, reason = "for its drop")] Sender<u8>);

impl Wake for Holding {
    fn wake(self: Arc<Self>) {}
}

#[test]
fn a_waker_is_never_dropped_under_the_lock() {
    in_time(|| {
        let (sender, mut receiver) = bounded::<u8>(1);
        let waker = Waker::from(Arc::new(Holding(sender)));
        assert_eq!(
            receiver.poll_recv(&mut Context::from_waker(&waker)),
            Poll::Pending
        );
        drop(waker);
        // Replacing drops the last waker, and with it the sender.
        let mut context = Context::from_waker(Waker::noop());
        assert_eq!(receiver.poll_recv(&mut context), Poll::Pending);
        assert_eq!(receiver.poll_recv(&mut context), Poll::Ready(None));
    });
    in_time(|| {
        let (sender, mut receiver) = bounded::<u8>(1);
        let waker = Waker::from(Arc::new(Holding(sender)));
        assert_eq!(
            receiver.poll_recv(&mut Context::from_waker(&waker)),
            Poll::Pending
        );
        drop(waker);
        receiver.close();
    });
}

#[test]
fn a_poll_that_was_given_up_does_not_count_as_waiting() {
    let (sender, mut receiver) = bounded(1);
    let begin = Instant::now();
    let mut context = Context::from_waker(Waker::noop());
    assert_eq!(receiver.poll_recv(&mut context), Poll::Pending);
    let producer = thread::spawn(move || {
        thread::sleep(Duration::from_millis(30));
        sender.send(1)
    });
    assert_eq!(receiver.recv(), Some(1));
    producer.join().unwrap().unwrap();
    // Counted by `recv`, and not by the poll once more.
    let (blocked, elapsed) = (receiver.meter().read().blocked_in, begin.elapsed());
    assert!(
        blocked > Duration::ZERO && blocked <= elapsed,
        "{blocked:?} of {elapsed:?}"
    );
}

#[tokio::test]
async fn a_task_is_woken_for_each_item_and_for_the_end() {
    let (sender, mut receiver) = bounded(2);
    let meter = sender.meter();
    let producer = thread::spawn(move || {
        for item in 0..100 {
            if item % 10 == 0 {
                thread::sleep(Duration::from_millis(2));
            }
            sender.send(item).unwrap();
        }
    });
    let consume = async {
        let mut all = vec![];
        while let Some(item) = poll_fn(|context| receiver.poll_recv(context)).await {
            all.push(item);
        }
        all
    };
    let all = tokio::time::timeout(Duration::from_secs(20), consume)
        .await
        .unwrap();
    assert_eq!(all, (0..100).collect::<Vec<_>>());
    producer.join().unwrap();
    assert!(
        meter.read().blocked_in >= Duration::from_millis(5),
        "{:?}",
        meter.read()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_may_move_from_task_to_task() {
    let (sender, mut receiver) = bounded(1);
    let producer = thread::spawn(move || (0..50).try_for_each(|item| sender.send(item)));
    for expected in 0..50 {
        let task = tokio::spawn(async move {
            let item = poll_fn(|context| receiver.poll_recv(context)).await;
            (item, receiver)
        });
        let next = tokio::time::timeout(Duration::from_secs(20), task)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(next.0, Some(expected));
        receiver = next.1;
    }
    producer.join().unwrap().unwrap();
}

/// How a consumer takes its next item.
#[derive(Debug, Clone, Copy)]
enum Way {
    Recv,
    Poll,
    Try,
}

/// Wakes a thread that is parked.
struct Unpark(thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn next(receiver: &mut Receiver<u32>, way: Way) -> Option<u32> {
    match way {
        Way::Recv => receiver.recv(),
        Way::Poll => {
            let waker = Waker::from(Arc::new(Unpark(thread::current())));
            loop {
                match receiver.poll_recv(&mut Context::from_waker(&waker)) {
                    Poll::Ready(item) => return item,
                    Poll::Pending => thread::park(),
                }
            }
        }
        Way::Try => loop {
            match receiver.try_recv() {
                TryRecv::Item(item) => return Some(item),
                TryRecv::Empty => thread::yield_now(),
                TryRecv::Ended => return None,
            }
        },
    }
}

proptest! {
    #[test]
    fn nothing_is_lost_or_moved_whoever_leaves_and_whenever(
        depth in 0_usize..5,
        items in 0_u32..200,
        ways in prop::collection::vec(prop::sample::select(vec![Way::Recv, Way::Poll, Way::Try]), 1..6),
        leaves_after in prop::option::of(0_usize..200),
        pauses in (0_u32..40, 0_usize..40),
    ) {
        let (sender, mut receiver) = bounded(depth);
        let meter = sender.meter();
        let producer = thread::spawn(move || {
            for item in 0..items {
                if pauses.0 > 0 && item % pauses.0 == pauses.0 - 1 {
                    thread::sleep(Duration::from_micros(50));
                }
                if sender.send(item).is_err() {
                    return item;
                }
            }
            items
        });
        let all = in_time(move || {
            let mut all = vec![];
            for way in ways.into_iter().cycle() {
                if leaves_after.is_some_and(|most| all.len() >= most) {
                    break;
                }
                if pauses.1 > 0 && all.len() % pauses.1 == pauses.1 - 1 {
                    thread::sleep(Duration::from_micros(50));
                }
                match next(&mut receiver, way) {
                    Some(item) => all.push(item),
                    None => break,
                }
            }
            all
        });
        let sent = in_time(move || producer.join().unwrap());
        let taken = leaves_after.map_or(items as usize, |most| most.min(items as usize));
        prop_assert_eq!(&all, &(0..taken as u32).collect::<Vec<_>>());
        prop_assert!(sent as usize <= taken + depth.max(1) + 1);
        let stats = meter.read();
        prop_assert_eq!((stats.sent, stats.received), (u64::from(sent), taken as u64));
        prop_assert_eq!(stats.queued, 0);
    }
}
