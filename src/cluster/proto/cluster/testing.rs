//! Nodes for the tests of this room.

use std::time::Duration;

use crate::{
    cluster::proto::{
        BeaconKeys, ClusterConfig, ConnectMode, Incarnation, MinConnections, NameMatch, NodeCard,
        NodeName, Roles, RunNumber,
    },
    types::ids::NodeId,
};

pub(crate) fn card(id: u64, name: &str) -> NodeCard {
    NodeCard {
        id: NodeId(id),
        name: NodeName::parse(name).unwrap(),
        incarnation: Incarnation(1),
        run: RunNumber(id * 100),
        roles: Roles {
            is_ingest: true,
            is_store: true,
        },
        link: "0.0.0.0:5001".parse().unwrap(),
        http: None,
    }
}

pub(crate) fn config(id: u64, name: &str) -> ClusterConfig {
    let cluster = NodeName::parse("test").unwrap();
    ClusterConfig {
        card: card(id, name),
        keys: BeaconKeys::new(&["secret"], &cluster),
        advertised: None,
        ping_interval: Duration::from_secs(10),
        min_connections: MinConnections::All,
        connect: NameMatch::All,
        accept: NameMatch::All,
        connect_mode: ConnectMode::Visible,
        is_active: true,
        peers: Vec::new(),
        members_max: 16,
        remembered: Vec::new(),
        seed: 1,
    }
}
