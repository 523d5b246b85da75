use super::*;

fn notice(version: u64) -> DesiredNotice {
    DesiredNotice { version, patch: Bytes::new() }
}

fn push(outbox: &mut DesiredOutbox, versions: impl IntoIterator<Item = u64>) -> Vec<Pushed> {
    versions.into_iter().map(|version| outbox.push(notice(version))).collect()
}

fn pop_all(outbox: &mut DesiredOutbox) -> Vec<u64> {
    std::iter::from_fn(|| outbox.pop()).map(|notice| notice.version).collect()
}

/// Devices that read their twin have one of these each.
#[test]
fn an_outbox_is_small() {
    assert!(size_of::<DesiredOutbox>() <= 24, "{}", size_of::<DesiredOutbox>());
}

#[test]
fn a_version_that_the_device_knows_is_not_sent() {
    let mut outbox = DesiredOutbox::default();
    push(&mut outbox, [2, 3, 3, 2, 4]);
    outbox.mark_read(3, true);
    assert_eq!(pop_all(&mut outbox), [4]);
    push(&mut outbox, [4, 3, 2, 1, 5]);
    assert_eq!(pop_all(&mut outbox), [5]);
    outbox.mark_read(2, true);
    push(&mut outbox, [5]);
    assert!(pop_all(&mut outbox).is_empty() && outbox.pending.is_none());
}

#[test]
fn notices_that_overtake_each_other_are_sent_in_order() {
    let mut outbox = DesiredOutbox::default();
    outbox.mark_read(4, true);
    assert_eq!(push(&mut outbox, [6, 8, 8]), [Pushed::Missing(5), Pushed::Accepted, Pushed::Accepted]);
    assert!(pop_all(&mut outbox).is_empty());
    assert_eq!(push(&mut outbox, [5]), [Pushed::Accepted]);
    assert_eq!(pop_all(&mut outbox), [5, 6]);
    assert_eq!(outbox.check_gap(5), Gap::Moved(7));
    assert_eq!(push(&mut outbox, [7]), [Pushed::Accepted]);
    assert_eq!(outbox.check_gap(7), Gap::Filled);
    assert_eq!(push(&mut outbox, [10]), [Pushed::Missing(9)], "a gap behind notices that can be sent");
    assert_eq!(pop_all(&mut outbox), [7, 8]);
    assert_eq!(outbox.check_gap(9), Gap::Lost);
    push(&mut outbox, [9]);
    assert_eq!(pop_all(&mut outbox), [9, 10]);
    assert!(outbox.pending.is_none(), "nothing pending takes no memory");
    assert_eq!(outbox.check_gap(9), Gap::Filled);
}

#[test]
fn what_was_changed_before_the_subscription_is_not_owed() {
    let mut outbox = DesiredOutbox::default();
    // The device reads its twin, and then subscribes.
    outbox.mark_read(3, false);
    assert_eq!(push(&mut outbox, [3, 7, 6, 2]), [Pushed::Accepted; 4]);
    assert_eq!(pop_all(&mut outbox), [6, 7]);
    outbox.clear();
    assert_eq!(push(&mut outbox, [7, 9, 10]), [Pushed::Accepted; 3]);
    assert_eq!(pop_all(&mut outbox), [9, 10]);
}

#[test]
fn a_notice_that_comes_after_a_newer_one_was_sent_is_lost() {
    let mut outbox = DesiredOutbox::default();
    push(&mut outbox, [6]);
    assert_eq!(pop_all(&mut outbox), [6]);
    assert_eq!(push(&mut outbox, [5, 4]), [Pushed::Missing(5), Pushed::Accepted]);
    push(&mut outbox, [7]);
    assert_eq!(pop_all(&mut outbox), [7]);
    assert_eq!(outbox.check_gap(5), Gap::Lost);
    // Reading the twin makes up for it, unless the device has read an older version.
    outbox.mark_read(4, true);
    assert_eq!(outbox.check_gap(5), Gap::Lost);
    outbox.mark_read(5, true);
    assert_eq!(outbox.check_gap(5), Gap::Filled);
    assert!(outbox.pending.is_none());
}

#[test]
fn what_was_changed_after_the_twin_was_read_is_owed() {
    // The first notice is of version 8, which the device is sent before or after it has read version 5.
    for sent_before in [false, true] {
        let mut outbox = DesiredOutbox::default();
        push(&mut outbox, [8]);
        if sent_before {
            assert_eq!(pop_all(&mut outbox), [8]);
        }
        assert_eq!(outbox.mark_read(5, true), Some(6));
        let in_time = push(&mut outbox, [7, 6]);
        assert_eq!(in_time, [Pushed::Accepted; 2]);
        assert_eq!(outbox.check_gap(6), if sent_before { Gap::Lost } else { Gap::Filled });
        assert_eq!(pop_all(&mut outbox), if sent_before { vec![] } else { vec![6, 7, 8] });
    }
}

#[test]
fn before_the_first_notice_is_sent_an_older_one_takes_its_place() {
    let mut outbox = DesiredOutbox::default();
    assert_eq!(
        push(&mut outbox, [5, 3, 4, 7]),
        [Pushed::Accepted, Pushed::Missing(4), Pushed::Accepted, Pushed::Accepted]
    );
    assert_eq!(pop_all(&mut outbox), [3, 4, 5]);
    assert_eq!(outbox.check_gap(4), Gap::Moved(6));
}

#[test]
fn reading_the_twin_fills_a_gap() {
    let mut outbox = DesiredOutbox::default();
    outbox.mark_read(1, true);
    push(&mut outbox, [3, 5, 6, 9]);
    assert_eq!(outbox.mark_read(4, true), None, "a missing notice is reported already");
    assert_eq!(pop_all(&mut outbox), [5, 6]);
    assert_eq!(outbox.check_gap(2), Gap::Moved(7));
    outbox.mark_read(9, true);
    assert_eq!(outbox.check_gap(7), Gap::Filled);
    assert!(outbox.pending.is_none());
}

#[test]
fn after_a_resync_the_connection_ends() {
    for reads in [false, true] {
        let mut outbox = DesiredOutbox::default();
        outbox.mark_read(1, true);
        push(&mut outbox, [3, 4]);
        assert_eq!(outbox.patches().len(), 2);
        outbox.resync(notice(5));
        assert_eq!(outbox.check_gap(2), Gap::Filled);
        assert_eq!(push(&mut outbox, [7, 2]), [Pushed::Accepted; 2]);
        assert!(!outbox.has_sent_all());
        if reads {
            assert_eq!(outbox.mark_read(5, true), None);
        }
        assert_eq!(pop_all(&mut outbox), if reads { vec![] } else { vec![5] });
        assert!(outbox.has_sent_all());
    }
}

#[test]
fn a_resync_does_not_need_an_earlier_notice() {
    let mut outbox = DesiredOutbox::default();
    outbox.mark_read(1, true);
    push(&mut outbox, [3]);
    // The device unsubscribes and subscribes again before the hub has read the twin.
    outbox.clear();
    outbox.resync(notice(4));
    assert_eq!(pop_all(&mut outbox), [4]);
    assert!(outbox.has_sent_all());
}

#[test]
fn the_number_of_pending_notices_is_limited() {
    let limit = MAX_PENDING as u64;
    let mut outbox = DesiredOutbox::default();
    push(&mut outbox, 1..=limit);
    assert_eq!(push(&mut outbox, [limit + 1]), [Pushed::Full]);
    let mut outbox = DesiredOutbox::default();
    outbox.mark_read(1, true);
    push(&mut outbox, 3..limit + 3);
    assert_eq!(push(&mut outbox, [limit + 3, 2]), [Pushed::FullOfHeld; 2]);
}
