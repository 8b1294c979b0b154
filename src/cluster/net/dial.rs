//! Dials: a connection to another node's link port, from the first packet to a link or a reason why
//! not.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{net::TcpStream, time::timeout};

use super::{
    handshake::{self, Fault, First, Session},
    link,
    links::{Admittance, Caller, DialTo, Inner, LinkEvent},
    resolve::{ResolveError, Resolver},
    tcp::{observed, tune},
};
use crate::cluster::proto::{
    DialId,
    link::{hello::Hello, outcome::DialFailure},
};

/// A connection that has become a link.
struct Reached {
    session: Session<TcpStream>,
    hello: Hello,
    observed: SocketAddr,
}

/// How long all addresses of a name may take together: less than the core waits for a dial.
const REACH_MAX: Duration = Duration::from_secs(12);

/// Dials, and serves the link if one comes of it.
pub(super) async fn run(dial: DialId, to: DialTo, patience: Duration, inner: Arc<Inner>) {
    let stop = inner.stop.clone();
    let reaching = timeout(REACH_MAX, reach(dial, &to, patience, &inner));
    let Some(reached) = stop.run_until_cancelled(reaching).await else {
        return;
    };
    match reached.unwrap_or(Err(DialFailure::TimedOut)) {
        Ok(reached) => {
            let met = link::Met {
                hello: reached.hello,
                observed: reached.observed,
                dialled: Some(dial),
            };
            link::run(reached.session, met, inner).await;
        }
        Err(why) => {
            inner.metrics.dials_failed.inc(why.as_str());
            tracing::debug!(%dial, ?to, reason = why.as_str(), "a dial came to nothing");
            inner.tell(LinkEvent::DialFailed { dial, why }).await;
        }
    }
}

async fn reach(
    dial: DialId,
    to: &DialTo,
    patience: Duration,
    inner: &Inner,
) -> Result<Reached, DialFailure> {
    let mut failure = DialFailure::Unreachable;
    for address in addresses(to, patience, &inner.resolver).await? {
        match reach_one(dial, address, patience, inner).await {
            Ok(reached) => return Ok(reached),
            Err(why) => failure = why,
        }
    }
    Err(failure)
}

async fn addresses(
    to: &DialTo,
    patience: Duration,
    resolver: &Resolver,
) -> Result<Vec<SocketAddr>, DialFailure> {
    let name = match to {
        DialTo::Address(address) => return Ok(vec![*address]),
        DialTo::Name(name) => name,
    };
    let (host, port) = name.rsplit_once(':').ok_or(DialFailure::Unreachable)?;
    let port = port.parse().map_err(|_| DialFailure::Unreachable)?;
    Ok(resolver.resolve(host, port, patience).await?)
}

async fn reach_one(
    dial: DialId,
    address: SocketAddr,
    patience: Duration,
    inner: &Inner,
) -> Result<Reached, DialFailure> {
    let connecting = timeout(patience, TcpStream::connect(address)).await;
    let connected = connecting.map_err(|_| DialFailure::TimedOut)?;
    let stream = connected.map_err(|error| failure_of(&error))?;
    let tuned = tune(stream, inner.config.numbers);
    let stream = tuned.map_err(|error| failure_of(&error))?;
    let greeting = greet(dial, stream, observed(address), inner);
    let greeted = timeout(inner.config.handshake_timeout, greeting).await;
    greeted.map_err(|_| DialFailure::TimedOut)?
}

async fn greet(
    dial: DialId,
    stream: TcpStream,
    observed: SocketAddr,
    inner: &Inner,
) -> Result<Reached, DialFailure> {
    let mut session = handshake::dial(stream, &inner.identity).await?;
    session.send_hello(&inner.identity.hello).await?;
    let hello = match session.receive_first().await? {
        First::Hello(hello) => *hello,
        First::Refusal(reason) => return Err(DialFailure::of_refusal(reason).seen_from(observed)),
    };
    let caller = Caller {
        card: hello.card.clone().seen_from(observed),
        observed,
        dialled: Some(dial),
    };
    match inner.admission.judge(caller).await {
        Admittance::Accept => Ok(Reached {
            session,
            hello,
            observed,
        }),
        Admittance::Refuse(reason) => {
            // It may have gone already; that changes nothing.
            if session.refuse(&reason).await.is_err() {
                tracing::trace!("who was refused is gone");
            }
            Err(DialFailure::Unwanted(reason))
        }
    }
}

fn failure_of(error: &io::Error) -> DialFailure {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => DialFailure::Refused,
        io::ErrorKind::TimedOut => DialFailure::TimedOut,
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted => DialFailure::Broken,
        _ => DialFailure::Unreachable,
    }
}

impl From<Fault> for DialFailure {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Broken => Self::Broken,
            Fault::Rubbish | Fault::Forged | Fault::Protocol(_) => Self::Foreign,
            Fault::OtherVersion => Self::OtherVersion,
            Fault::OtherCluster => Self::OtherCluster,
            Fault::WrongSecret => Self::WrongSecret,
        }
    }
}

impl From<ResolveError> for DialFailure {
    fn from(error: ResolveError) -> Self {
        tracing::debug!(%error, "a peer's name leads nowhere");
        match error {
            ResolveError::TimedOut(_) => Self::TimedOut,
            ResolveError::Failed(..) => Self::Unreachable,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn dials_by_name_share_few_lookups_and_dials_by_address_need_none() {
        let resolver = Resolver::new();
        let patience = Duration::from_secs(3);
        let by_name = DialTo::Name("localhost:5001".to_owned());
        let hanging = resolver.hang().await;
        let failed = addresses(&by_name, patience, &resolver).await;
        assert_eq!(failed, Err(DialFailure::TimedOut));
        let address: SocketAddr = "192.0.2.7:5001".parse().unwrap();
        let found = addresses(&DialTo::Address(address), patience, &resolver).await;
        assert_eq!(found, Ok(vec![address]));
        drop(hanging);
    }

    #[tokio::test]
    async fn a_peer_is_found_at_each_address_of_its_name() {
        let find = async |name: &str| {
            let to = DialTo::Name(name.to_owned());
            addresses(&to, Duration::from_secs(5), &Resolver::new()).await
        };
        let found = find("localhost:5001").await.unwrap();
        assert!(!found.is_empty() && found.iter().all(|one| one.port() == 5001));
        for wrong in ["localhost", "localhost:port", "not a name:5001"] {
            assert_eq!(find(wrong).await, Err(DialFailure::Unreachable));
        }
    }
}
