//! When the answer to PINGs leaves: a little later, so that not all answer at once, and seldom, so that
//! one answer serves many PINGs; and whether it leaves, where answers of some will do. Fifty nodes that
//! all answer one make each other read 2,500 datagrams, just when they have links to make.

use std::{collections::VecDeque, time::Duration};

use crate::{
    base::{prng::Prng, time::Instant},
    types::ids::NodeId,
};

use super::super::{
    beacon::Nonce,
    card::RunNumber,
    timing::{
        ANSWERS_ENOUGH, PONG_JITTER_MAX_MS, PONG_JITTER_MS, PONG_JITTER_PER_MEMBER_MS,
        PONG_SPACING, PONG_SPACING_MAX, PONG_SPACING_PER_MEMBER,
    },
};

/// PINGs that one answer may wait for; of more the oldest count no more.
const ASKED_MAX: usize = 32;

/// The one answer that is planned, and when the last one left.
#[derive(Debug, Default)]
pub(crate) struct Pongs {
    planned_at: Option<Instant>,
    /// What it answers, the newest last.
    asked: VecDeque<Asked>,
    last_at: Option<Instant>,
}

/// A PING that waits for its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Question {
    pub(crate) nonce: Nonce,
    pub(crate) pinger: NodeId,
    pub(crate) run: RunNumber,
    /// Answers of some will do: both ends take the word of members, and the pinger was heard at an
    /// address that they can tell.
    pub(crate) wants_few: bool,
}

/// A question, and who has answered it.
#[derive(Debug)]
struct Asked {
    question: Question,
    /// At most [`ANSWERS_ENOUGH`].
    answered_by: Vec<NodeId>,
}

impl Asked {
    fn is_answered(&self) -> bool {
        self.question.wants_few && self.answered_by.len() >= ANSWERS_ENOUGH
    }
}

impl Pongs {
    /// A PING is to be answered, together with those that wait for an answer. One that is heard on
    /// several ways is one. The cluster has so many members.
    pub(crate) fn plan(
        &mut self,
        now: Instant,
        question: Question,
        n_members: usize,
        prng: &mut Prng,
    ) {
        let known = self.asked.iter_mut().map(|asked| &mut asked.question);
        let mut known = known.filter(|known| known.is_same(&question));
        if let Some(known) = known.next() {
            known.wants_few |= question.wants_few;
            return;
        }
        let jitter = Duration::from_millis(prng.below(jitter_ms(&question, n_members) + 1));
        let allowed = self.last_at.map_or(now, |at| at + spacing(n_members));
        self.planned_at.get_or_insert((now + jitter).max(allowed));
        if self.asked.len() >= ASKED_MAX {
            self.asked.pop_front();
        }
        self.asked.push_back(Asked {
            question,
            answered_by: Vec::new(),
        });
    }

    /// A node that this one has a link with has answered a PING.
    pub(crate) fn answered(&mut self, nonce: Nonce, pinger: NodeId, by: NodeId) {
        let is_it = |asked: &&mut Asked| {
            (asked.question.nonce, asked.question.pinger) == (nonce, pinger)
                && asked.answered_by.len() < ANSWERS_ENOUGH
        };
        let asked = self.asked.iter_mut().find(is_it);
        if let Some(asked) = asked.filter(|asked| !asked.answered_by.contains(&by)) {
            asked.answered_by.push(by);
        }
    }

    /// The PING that is answered now: the newest that still needs an answer, since a link to the pinger
    /// may stand by now. Where none does, nothing leaves.
    pub(crate) fn due(
        &mut self,
        now: Instant,
        is_needed: impl Fn(&Question) -> bool,
    ) -> Option<Question> {
        self.planned_at.take_if(|at| *at <= now)?;
        let asked = std::mem::take(&mut self.asked);
        let open = asked.into_iter().filter(|asked| !asked.is_answered());
        let newest = open.map(|asked| asked.question).rfind(is_needed)?;
        self.last_at = Some(now);
        Some(newest)
    }

    /// A PING of our own has left: it told the same to the same nodes.
    pub(crate) fn spared(&mut self, now: Instant) {
        if self.planned_at.take().is_some() {
            self.asked.clear();
            self.last_at = Some(now);
        }
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.planned_at
    }
}

impl Question {
    fn is_same(&self, other: &Self) -> bool {
        (self.nonce, self.pinger, self.run) == (other.nonce, other.pinger, other.run)
    }
}

/// The longest delay of an answer.
fn jitter_ms(question: &Question, n_members: usize) -> u64 {
    let n_crowding = n_members.saturating_sub(ANSWERS_ENOUGH);
    let n_crowding = u64::try_from(n_crowding).unwrap_or(u64::MAX);
    let longer = n_crowding.saturating_mul(PONG_JITTER_PER_MEMBER_MS);
    match question.wants_few {
        true => (PONG_JITTER_MS.saturating_add(longer)).min(PONG_JITTER_MAX_MS),
        false => PONG_JITTER_MS,
    }
}

fn spacing(n_members: usize) -> Duration {
    let n_members = u32::try_from(n_members).unwrap_or(u32::MAX);
    let for_all = PONG_SPACING_PER_MEMBER.saturating_mul(n_members);
    for_all.clamp(PONG_SPACING, PONG_SPACING_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn question(number: u64) -> Question {
        Question {
            nonce: Nonce(number),
            pinger: NodeId(number),
            run: RunNumber(1),
            wants_few: false,
        }
    }

    #[test]
    fn an_answer_is_for_the_newest_that_still_needs_one() {
        let (mut prng, at) = (Prng::new(1), Instant::from_millis);
        let mut pongs = Pongs::default();
        for number in 1..=40 {
            pongs.plan(at(0), question(number), 40, &mut prng);
        }
        let is_needed = |question: &Question| question.pinger.0 <= 28;
        assert_eq!(pongs.due(at(20), is_needed), Some(question(28)));
        pongs.plan(at(30), question(1), 1, &mut prng);
        assert_eq!(pongs.due(at(90), |_| false), None);
        assert_eq!(pongs.due(at(90), |_| true), None, "it needs none any more");
        assert_eq!(pongs.next_deadline(), None);
    }

    #[test]
    fn where_some_answers_will_do_the_others_are_silent() {
        let (mut prng, at) = (Prng::new(1), Instant::from_millis);
        for (wants_few, n_answers, is_silent) in
            [(true, 8, true), (true, 7, false), (false, 49, false)]
        {
            let mut pongs = Pongs::default();
            let asked = question(1);
            pongs.plan(at(0), asked, 49, &mut prng);
            // Heard on another way, at an address that others can tell.
            pongs.plan(at(0), Question { wants_few, ..asked }, 49, &mut prng);
            for by in (1..=n_answers).chain(1..=7).map(NodeId) {
                pongs.answered(asked.nonce, asked.pinger, by);
                pongs.answered(Nonce(2), asked.pinger, by);
            }
            let said = pongs.due(at(200), |_| true);
            assert_eq!(said.is_none(), is_silent, "{n_answers} answers");
        }
    }

    #[test]
    fn the_first_of_many_answers_are_heard_before_the_others_leave() {
        let mut prng = Prng::new(7);
        let mut leaves = |n_members| {
            let mut at: Vec<u64> = (0..n_members)
                .map(|_| {
                    let mut pongs = Pongs::default();
                    let asked = Question {
                        wants_few: true,
                        ..question(1)
                    };
                    pongs.plan(Instant::from_millis(0), asked, n_members, &mut prng);
                    pongs.next_deadline().unwrap().as_millis()
                })
                .collect();
            at.sort_unstable();
            at
        };
        assert!(*leaves(8).last().unwrap() <= 10);
        let of_fifty = leaves(49);
        assert!(
            of_fifty[7] < 40 && of_fifty[20] > of_fifty[7],
            "{of_fifty:?}"
        );
        assert!(*of_fifty.last().unwrap() <= 92);
    }

    /// When answers leave in a second in which somebody asks all the time.
    fn answers(n_members: usize) -> Vec<u64> {
        let (mut prng, mut pongs) = (Prng::new(1), Pongs::default());
        let mut sent = Vec::new();
        for millis in 0..1_000 {
            let now = Instant::from_millis(millis);
            pongs.plan(now, question(millis), n_members, &mut prng);
            if let Some(answered) = pongs.due(now, |_| true) {
                assert_eq!(answered, question(millis), "the newest is answered");
                sent.push(millis);
            }
        }
        assert!(sent[0] <= 10, "{sent:?}");
        sent
    }

    #[test]
    fn answers_wait_a_little_and_are_fifty_milliseconds_apart() {
        let sent = answers(2);
        assert!((18..=20).contains(&sent.len()), "{sent:?}");
        assert!(sent.windows(2).all(|pair| pair[1] - pair[0] >= 50));
    }

    #[test]
    fn among_many_answers_are_farther_apart() {
        let sent = answers(50);
        assert!(sent.windows(2).all(|pair| pair[1] - pair[0] >= 250));
        assert!(answers(1_000).len() >= 2);
    }

    #[test]
    fn a_ping_of_our_own_spares_the_answer() {
        let (mut prng, at) = (Prng::new(1), Instant::from_millis);
        let mut pongs = Pongs::default();
        pongs.plan(at(0), question(1), 1, &mut prng);
        pongs.spared(at(0));
        assert_eq!(pongs.due(at(60), |_| true), None);
        pongs.plan(at(1), question(2), 1, &mut prng);
        assert_eq!(pongs.due(at(49), |_| true), None);
        assert_eq!(pongs.due(at(60), |_| true), Some(question(2)));
    }
}
