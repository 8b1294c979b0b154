//! What the driver does for those who hold a handle.

use std::ops::ControlFlow;

use super::{
    driver::{Driver, End},
    handle::{ClusterMembers, Command, DiscoveryReport, PingError, Subscription},
};
use crate::{
    base::time::Instant,
    cluster::{
        net::{Admittance, Caller, LinkHandle},
        proto::{ClusterInput, MemberState, MemberView, NodeName},
    },
};

impl Driver {
    pub(super) fn obey(&mut self, command: Command) -> ControlFlow<End> {
        match command {
            // Who asked may be gone: the answers are for nobody then.
            Command::Members(reply) => drop(reply.send(self.members())),
            Command::Discovery(reply) => drop(reply.send(self.report())),
            Command::Subscribe(reply) => drop(reply.send(self.subscription())),
            Command::Ping(name, reply) => {
                let link = self.link_to(&name);
                drop(reply.send(link.map(LinkHandle::ping)));
            }
            Command::Admit(caller, reply) => drop(reply.send(self.admit(&caller))),
            Command::Pause => self.order(ClusterInput::Pause),
            Command::Resume => self.order(ClusterInput::Resume),
            Command::Dial(peer) => self.order(ClusterInput::DialAddress(peer)),
            Command::Forget(whom, reply) => {
                let n_before = self.core.members().len();
                self.tell(ClusterInput::Forget(whom));
                let is_gone = self.core.members().len() < n_before;
                // Who asked may be gone.
                let _nobody = reply.send(is_gone.then(|| self.lasting.memory.number()));
            }
            Command::Health { is_storing } => self.order(ClusterInput::Health { is_storing }),
            Command::Leave(done) => {
                self.tell(ClusterInput::Leave);
                return ControlFlow::Break(End::Left(done));
            }
        }
        ControlFlow::Continue(())
    }

    /// Tells the core what holds for those after it too.
    fn order(&mut self, input: ClusterInput) {
        self.tell(input.clone());
        // Not before: one that the core cannot bear is not told again.
        self.lasting.orders.note(&input);
    }

    fn members(&self) -> ClusterMembers {
        ClusterMembers {
            members: self.core.members(),
            epoch: self.core.epoch(),
        }
    }

    fn report(&self) -> DiscoveryReport {
        DiscoveryReport {
            view: self.core.discovery(),
            sockets: self.sockets.status(),
            now: Instant::now(),
        }
    }

    fn subscription(&self) -> Subscription {
        Subscription {
            present: self.core.announced(),
            changes: self.lasting.changes.subscribe(),
        }
    }

    /// The link to the member of a name; of several, to one that lives.
    fn link_to(&self, name: &NodeName) -> Result<&LinkHandle, PingError> {
        let members = self.core.members();
        let named = |member: &&MemberView| member.name == *name && !member.is_self;
        let is_away = |member: &&MemberView| member.state != MemberState::Up;
        let mut found: Vec<&MemberView> = members.iter().filter(named).collect();
        found.sort_by_key(is_away);
        let member = found.first().ok_or(PingError::Unknown)?;
        let link = member.linked.and_then(|link| self.handles.get(&link));
        link.ok_or(PingError::NotLinked)
    }

    fn admit(&mut self, caller: &Caller) -> Admittance {
        let mut out = std::mem::take(&mut self.out);
        let now = Instant::now();
        let answer = self
            .core
            .admit(now, &caller.card, caller.observed, &mut out);
        self.act(&mut out);
        self.out = out;
        match answer {
            Ok(()) => Admittance::Accept,
            Err(refusal) => Admittance::Refuse(refusal.into()),
        }
    }
}
