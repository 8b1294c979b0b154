//! The state behind links and members, and the turn that every input ends with.

use std::{cmp::Reverse, net::SocketAddr};

use crate::{
    base::{prng::Prng, time::Instant},
    cluster::proto::{
        card::{NodeName, RunNumber},
        config::{ClusterConfig, ConnectMode, MinConnections, RememberedMember},
        dialling::{Dialling, Peer},
        discovery::{Introduction, Sighting, Surroundings, series::Company},
        due::DueAt,
        events::DownReason,
        input::ClusterInput,
        links::Links,
        membership::{Claim, Claimant, Members, Merged, Path, Record, Standing},
        output::ClusterOutput,
        view::{Epoch, ViewDigest},
    },
    types::ids::NodeId,
};

use super::telling::Telling;

/// Everything but discovery.
#[derive(Debug)]
pub(super) struct Core {
    /// Of the input that is being handled.
    pub(super) now: Instant,
    /// What the input led to so far.
    pub(super) out: Vec<ClusterOutput>,
    pub(super) config: ClusterConfig,
    /// This node as it tells itself to others.
    pub(super) own: Record,
    pub(super) started: Instant,
    pub(super) links: Links,
    pub(super) members: Members,
    pub(super) dialling: Dialling,
    pub(super) telling: Telling,
    pub(super) digest: ViewDigest,
    /// Members that are up, as of the digest.
    pub(super) n_up: usize,
    pub(super) epoch: Option<Epoch>,
    pub(super) is_storing: bool,
    pub(super) is_leaving: bool,
    pub(super) is_announced: bool,
    /// The first series of PINGs is over.
    pub(super) is_formed: bool,
    /// Who holds this node's name instead of it, and when that was last said.
    pub(super) refused: Option<(SocketAddr, Instant)>,
    /// Company got lost in this turn: discovery is to ask around.
    pub(super) misses_company: bool,
    /// Members or links changed: digest and epoch may have.
    pub(super) is_view_stale: bool,
    /// The storing members that the driver was told to remember.
    pub(super) remembered: Vec<RememberedMember>,
    /// When to look who still has a path.
    pub(super) paths_at: Option<Instant>,
    /// When to judge a member: forgotten when a path or a standing changes.
    pub(super) judging: DueAt,
    /// When to exchange tables over a link: forgotten when the view changes.
    pub(super) tables: DueAt,
    /// How often digests and epoch were followed.
    pub(super) n_refreshes: u64,
    pub(super) counts: CoreCounts,
}

/// What happened to members and frames, by number.
#[derive(Debug, Clone, Default)]
pub(super) struct CoreCounts {
    /// Members that were heard of and found no room.
    pub(super) n_members_full: u64,
    /// Links closed since one node had too many.
    pub(super) n_links_crowded: u64,
    /// Reports that named more members than there may be.
    pub(super) n_reports_cut: u64,
    /// Frames and heartbeats that could not be read.
    pub(super) n_frames_malformed: u64,
    /// Tables sent since views differed.
    pub(super) n_tables_exchanged: u64,
    pub(super) n_refutations: u64,
}

impl Core {
    pub(super) fn new(now: Instant, config: ClusterConfig, mut prng: Prng) -> Self {
        let card = &config.card;
        let claim = Claim {
            incarnation: card.incarnation,
            refutation: 0,
            standing: Standing::Up,
            run: Reverse(card.run),
        };
        let listens_at = Some(card.link).filter(|address| !address.ip().is_unspecified());
        let own = Record {
            id: card.id,
            name: card.name.clone(),
            claim,
            reason: DownReason::Left,
            roles: card.roles,
            link: config.advertised.or(listens_at),
            http: card.http,
        };
        let n_peers = config.members_max.saturating_mul(2);
        let dialling = Dialling::new(card.id, config.ping_interval, n_peers, prng.split());
        let members = Members::new(config.members_max);
        let mut core = Self {
            now,
            out: Vec::new(),
            started: now,
            links: Links::default(),
            digest: members.digest(&own),
            n_up: 0,
            members,
            dialling,
            telling: Telling::default(),
            own,
            epoch: None,
            is_storing: true,
            is_leaving: false,
            is_announced: false,
            is_formed: false,
            refused: None,
            misses_company: false,
            is_view_stale: true,
            remembered: Vec::new(),
            paths_at: None,
            judging: DueAt::Unknown,
            tables: DueAt::Unknown,
            n_refreshes: 0,
            counts: CoreCounts::default(),
            config,
        };
        for address in core.config.peers.clone() {
            core.dialling.add_static(now, address);
        }
        core.take_over();
        core
    }

    pub(super) fn take(&mut self, input: ClusterInput) {
        match input {
            ClusterInput::LinkUp {
                link,
                dialled,
                card,
                observed,
            } => self.link_up(link, dialled, &card, observed),
            ClusterInput::LinkDown {
                link,
                reason,
                silence,
            } => self.link_down(link, reason, silence),
            ClusterInput::LinkQuiet { link } => self.quiet(link, true),
            ClusterInput::LinkLively { link } => self.quiet(link, false),
            ClusterInput::Heartbeat { link, bytes } => self.heartbeat(link, &bytes),
            ClusterInput::MemberFrame { link, bytes } => self.member_frame(link, &bytes),
            ClusterInput::DialFailed { dial, why } => self.dial_failed(dial, why),
            ClusterInput::DialAddress(address) => {
                self.dialling.add_static(self.now, address);
            }
            ClusterInput::Forget(whom) => self.forget(&whom),
            ClusterInput::Health { is_storing } => {
                self.is_storing = is_storing;
                self.is_view_stale = true;
                self.telling.report_is_stale = true;
                self.telling.hurry();
            }
            // The rest is for discovery.
            _ => {}
        }
    }

    /// Does what is due. Every input ends with it.
    pub(super) fn settle(&mut self) {
        self.announce_self();
        self.judge();
        self.try_name_again();
        if !self.is_leaving {
            self.dialling.poll(self.now, &mut self.out);
        }
        self.refresh_view();
        self.tell();
        self.judging = self.next_judgement().into();
        self.tables = self.next_exchange().into();
        self.dialling.settle();
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let deadlines = [
            self.dialling.next_deadline().filter(|_| !self.is_leaving),
            self.next_judgement(),
            self.next_telling(),
            self.name_free_at(),
        ];
        deadlines.into_iter().flatten().min()
    }

    /// A node of this cluster was heard: if it is wanted, it is dialled.
    pub(super) fn sighted(&mut self, sighting: &Sighting) {
        let newcomer = Claimant {
            is_settled: sighting.is_settled,
            id: sighting.id,
            run: sighting.run,
        };
        if !self.is_leaving && self.is_worth_a_dial(&newcomer, &sighting.name) {
            self.dialling.sighted(self.now, sighting);
        } else {
            // It may be a rival, or a member of whom others cannot tell where it is.
            self.dialling.note(self.now, sighting);
        }
        let member = self.members.get_mut(sighting.id);
        let member = member.filter(|member| member.record.run() == sighting.run);
        if member.is_some_and(|member| member.locate(Some(sighting.address)) == Merged::Located) {
            self.located(sighting.id, None);
        }
    }

    /// Whether this node wants a link of its own to a member. A visible node links every member, also
    /// those whose names it did not ask for, unless they do not take it; a hidden one those that it
    /// asked for.
    pub(super) fn is_sought(&self, record: &Record) -> bool {
        let is_meant = self.config.connect.matches(record.name.as_str());
        let is_barred = || self.dialling.peer(record.id).is_some_and(Peer::is_barred);
        match self.config.connect_mode {
            ConnectMode::Visible => is_meant || !is_barred(),
            ConnectMode::Hidden => is_meant,
        }
    }

    /// Whether a member may be dialled for what others said of it: a hidden node follows nobody's
    /// word, but dials whom it heard itself.
    fn follows_reports_of(&self, id: NodeId) -> bool {
        let is_heard = || {
            let peer = self.dialling.peer(id);
            peer.is_some_and(|peer| peer.heard_at.is_some())
        };
        self.config.connect_mode == ConnectMode::Visible || is_heard()
    }

    /// A member changed: dials, subscribers and other nodes follow. `source` is the link it was
    /// heard over.
    pub(super) fn changed(&mut self, id: NodeId, source: Option<crate::cluster::proto::LinkId>) {
        self.telling.changed(id, source);
        if !self
            .members
            .get(id)
            .is_some_and(|member| member.record.is_up())
        {
            self.telling.hurry();
        }
        self.telling.report_is_stale = true;
        self.is_view_stale = true;
        self.path_changed(id);
    }

    /// The path to a member changed, which is nobody else's business.
    pub(super) fn path_changed(&mut self, id: NodeId) {
        self.judging.forget();
        self.look_for_paths_soon();
        self.adjust_dials(id);
        self.publish(id);
    }

    pub(super) fn adjust_dials(&mut self, id: NodeId) {
        let Some(member) = self.members.get(id) else {
            return;
        };
        let record = &member.record;
        let is_sought = self.is_sought(record) && self.follows_reports_of(id);
        let may_return = matches!(record.claim.standing, Standing::Up | Standing::Down);
        let is_in_doubt = matches!(member.path, Path::Lost { .. });
        let is_kept = (is_sought && may_return) || is_in_doubt;
        let is_unlinked = matches!(member.path, Path::Reported { .. });
        if record.is_up() && is_sought && is_unlinked && !self.is_leaving {
            let who = (id, &record.name, record.run());
            self.dialling.reported(self.now, who, record.link);
        }
        self.dialling.keep(self.now, id, is_kept);
    }

    fn has_enough_links(&self, n_links: usize) -> bool {
        let matching = self.members.iter().filter(|member| {
            self.links.is_usable(member.record.id)
                && self.config.connect.matches(member.record.name.as_str())
        });
        matching.take(n_links).count() >= n_links
    }
}

impl Surroundings for Core {
    fn introduction(&self) -> Introduction {
        Introduction {
            incarnation: self.own.claim.incarnation,
            is_settled: self.is_settled(),
            digest: self.digest,
        }
    }

    fn n_members(&self) -> usize {
        self.members.len()
    }

    fn is_linked(&self, id: NodeId, run: RunNumber) -> bool {
        let mut links = self.links.to(id);
        links.any(|link| link.run == run && !link.is_quiet)
    }

    fn has_path(&self, id: NodeId) -> bool {
        let is_linked = self.links.to(id).next().is_some();
        let is_up = || {
            self.members
                .get(id)
                .is_some_and(|member| member.record.is_up())
        };
        is_linked || (is_up() && self.links.way_to(id).is_some())
    }

    fn is_wanted(&self, id: NodeId, name: &NodeName) -> bool {
        let has_failed = self.dialling.peer(id).is_some_and(|peer| peer.has_failed());
        self.config.connect.matches(name.as_str()) && !has_failed
    }

    fn company(&self) -> Company {
        let is_complete = match self.config.min_connections {
            MinConnections::AtLeast(n_links) => self.has_enough_links(n_links),
            MinConnections::All => {
                let mut heard = self.dialling.peers();
                !heard.any(|(id, peer)| {
                    let counts = peer.heard_at.is_some() && !peer.is_idle() && !peer.has_failed();
                    counts && !self.is_rival(id, &peer.name) && !self.has_path(id)
                })
            }
        };
        if !is_complete {
            Company::Missing
        } else if self.links.len() == 0 {
            Company::Alone
        } else {
            Company::Complete
        }
    }
}
