//! Connections to the link port: who calls, and whether he becomes a link.
//!
//! Strangers are many and cheap, so each costs little: no call is kept waiting for a permit, but at
//! the cap the oldest of those who have not shown who they are gives way. A node shows it within
//! milliseconds; who says nothing, or rubbish, keeps nobody out. Refusals are counted by reason, and
//! logged at a limited rate.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream},
    time::{Instant as Deadline, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::{
    handshake::{self, Fault, First, Session},
    link,
    links::{Admittance, Caller, Inner},
    tcp::{observed, tune},
};
use crate::{
    base::{
        backoff::Backoff,
        time::{Instant, wall_millis},
    },
    cluster::proto::link::{hello::Hello, outcome::CloseReason},
};

/// Connections of which it is not known yet who calls, the oldest first.
#[derive(Debug, Default)]
struct Pending {
    calls: Mutex<VecDeque<(u64, CancellationToken)>>,
}

/// Why a call did not become a link.
enum Refusal {
    /// Nothing, or not enough, in time.
    Silent,
    /// A fault before the other end had shown who it is.
    Fault(Fault),
    /// A handshake with nothing behind it in time, or with something forged: a recording.
    Unproven,
    /// Gave way to others.
    Crowded,
    /// Not welcome, and told so.
    Unwelcome(CloseReason),
}

/// Accepts until the links stop.
pub(super) async fn accept_all(listener: TcpListener, inner: Arc<Inner>) {
    let seed = wall_millis().unsigned_abs();
    let mut backoff = Backoff::new(Duration::from_millis(10), Duration::from_secs(1), seed);
    let pending = Arc::new(Pending::default());
    let mut number = 0;
    let stop = inner.stop.clone();
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok((stream, peer)) => {
                backoff.reset();
                number += 1;
                let ticket = pending.enter(number, inner.config.pending_max);
                let call = Call {
                    number,
                    ticket,
                    peer: observed(peer),
                    pending: Arc::clone(&pending),
                    inner: Arc::clone(&inner),
                };
                // The handle is not needed: the group awaits the task.
                drop(inner.tasks.spawn("call", call.serve(stream)));
            }
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                if let Some(n_held_back) = inner.log_limit.pass() {
                    tracing::warn!(%error, n_held_back, "accepting a link failed");
                }
                let delay = tokio::time::sleep(backoff.next_delay());
                stop.run_until_cancelled(delay).await;
            }
        }
    }
}

impl Pending {
    /// Takes a call in, and lets the oldest go if there are too many. The token says when it is this
    /// one's turn to go.
    fn enter(&self, number: u64, n_max: usize) -> CancellationToken {
        let ticket = CancellationToken::new();
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        calls.push_back((number, ticket.clone()));
        if calls.len() > n_max
            && let Some((_, oldest)) = calls.pop_front()
        {
            oldest.cancel();
        }
        ticket
    }

    /// It is known who calls, or that nobody does.
    fn leave(&self, number: u64) {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        // Numbers rise from front to back.
        if let Ok(at) = calls.binary_search_by_key(&number, |(number, _)| *number) {
            calls.remove(at);
        }
    }
}

/// One connection to the link port.
struct Call {
    number: u64,
    ticket: CancellationToken,
    peer: SocketAddr,
    pending: Arc<Pending>,
    inner: Arc<Inner>,
}

impl Call {
    async fn serve(self, stream: TcpStream) {
        let deadline = (Instant::now() + self.inner.config.handshake_timeout).to_tokio();
        let stop = self.inner.stop.clone();
        let asking = self.ticket.run_until_cancelled(self.ask(stream, deadline));
        let asked = stop.run_until_cancelled(asking).await;
        self.pending.leave(self.number);
        let asked = match asked {
            Some(Some(asked)) => asked,
            Some(None) => Err(Refusal::Crowded),
            None => return,
        };
        let welcomed = match asked {
            Ok((session, hello)) => {
                let welcoming = self.welcome(session, hello, deadline);
                let Some(welcomed) = stop.run_until_cancelled(welcoming).await else {
                    return;
                };
                welcomed
            }
            Err(refusal) => Err(refusal),
        };
        match welcomed {
            Ok((session, hello)) => {
                let met = link::Met {
                    hello,
                    observed: self.peer,
                    dialled: None,
                };
                link::run(session, met, self.inner).await;
            }
            Err(refusal) => self.refused(&refusal),
        }
    }

    /// Finds out who calls.
    async fn ask(
        &self,
        stream: TcpStream,
        deadline: Deadline,
    ) -> Result<(Session<TcpStream>, Hello), Refusal> {
        let tuned = tune(stream, self.inner.config.numbers);
        let stream = tuned.map_err(|_| Refusal::Fault(Fault::Broken))?;
        let answered = handshake::answer(stream, &self.inner.identity);
        let answered = timeout_at(deadline, answered).await;
        let mut session = answered
            .map_err(|_| Refusal::Silent)?
            .map_err(Refusal::Fault)?;
        let first = timeout_at(deadline, session.receive_first()).await;
        match first.map_err(|_| Refusal::Unproven)? {
            Ok(First::Hello(hello)) => Ok((session, *hello)),
            Ok(First::Refusal(reason)) => Err(Refusal::Unwelcome(reason)),
            Err(Fault::Broken | Fault::Forged) => Err(Refusal::Unproven),
            Err(fault) => Err(Refusal::Fault(fault)),
        }
    }

    /// Asks whether the caller is welcome, and says who this node is, or why not.
    async fn welcome(
        &self,
        mut session: Session<TcpStream>,
        hello: Hello,
        deadline: Deadline,
    ) -> Result<(Session<TcpStream>, Hello), Refusal> {
        let caller = Caller {
            card: hello.card.clone().seen_from(self.peer),
            observed: self.peer,
            dialled: None,
        };
        let answering = async {
            match self.inner.admission.judge(caller).await {
                Admittance::Accept => {
                    let sent = session.send_hello(&self.inner.identity.hello).await;
                    sent.map_err(Refusal::Fault)
                }
                Admittance::Refuse(reason) => {
                    session.refuse(&reason).await.map_err(Refusal::Fault)?;
                    Err(Refusal::Unwelcome(reason))
                }
            }
        };
        let answered = timeout_at(deadline, answering).await;
        answered.unwrap_or(Err(Refusal::Fault(Fault::Broken)))?;
        Ok((session, hello))
    }

    /// Counts a refusal, and says it, unless much is said.
    fn refused(&self, refusal: &Refusal) {
        let reason = refusal.as_str();
        self.inner.metrics.refused.inc(reason);
        if matches!(refusal, Refusal::Unwelcome(CloseReason::Duplicate)) {
            // Both ends dial at the same time now and then, and one of the links is enough.
            return tracing::debug!(peer = %self.peer, reason, "a link that is not needed is refused");
        }
        if let Some(n_held_back) = self.inner.log_limit.pass() {
            let peer = self.peer;
            let what = refusal.what();
            tracing::warn!(%peer, reason, what, n_held_back, "a connection to the link port is refused");
        }
    }
}

impl Refusal {
    /// The rule that was broken, if it was that.
    const fn what(&self) -> Option<&'static str> {
        match self {
            Self::Fault(Fault::Protocol(what)) => Some(what),
            _ => None,
        }
    }

    const fn as_str(&self) -> &'static str {
        match self {
            Self::Silent => "silent",
            Self::Fault(fault) => fault.as_str(),
            Self::Unproven => "unproven",
            Self::Crowded => "crowded",
            Self::Unwelcome(reason) => reason.as_str(),
        }
    }
}

impl Fault {
    /// The value of a label for metrics and logs.
    pub(super) const fn as_str(&self) -> &'static str {
        match self {
            Self::Broken => "broken",
            Self::Rubbish => "rubbish",
            Self::OtherVersion => "other_version",
            Self::OtherCluster => "other_cluster",
            Self::WrongSecret => "wrong_secret",
            Self::Forged => "forged",
            Self::Protocol(_) => "protocol",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_call_gives_way() {
        let pending = Pending::default();
        let tickets: Vec<_> = (0..5).map(|number| pending.enter(number, 3)).collect();
        let gone: Vec<_> = tickets
            .iter()
            .map(CancellationToken::is_cancelled)
            .collect();
        assert_eq!(gone, [true, true, false, false, false]);
        pending.leave(3);
        pending.leave(0);
        let sixth = pending.enter(5, 3);
        assert!(!tickets[2].is_cancelled() && !sixth.is_cancelled());
        pending.enter(6, 3);
        assert!(tickets[2].is_cancelled() && !tickets[4].is_cancelled());
    }
}
