//! The store of a node, opened while the node looks for others.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::runtime::Handle;

use super::{AppError, cluster::find_others};
use crate::{
    base::{machine, task::Errands},
    config::AppConfig,
    metrics::{Metrics, names::StoreMetrics},
    node::cluster::ClusterHandle,
    store::{
        IndexOpener, Store, StoreConfig, StoreParts,
        disk::Disk,
        index::{FjallIndex, Index, NoIndex},
        retention::SystemClock,
    },
};

/// Opens the store, and waits until the first search is over: so that a starting node does not
/// believe for a moment that it is alone.
pub(super) async fn open_and_find(
    config: &AppConfig,
    metrics: &Metrics,
    cluster: &ClusterHandle,
    on_vehicles: &Handle,
) -> Result<Store, AppError> {
    let opening = async {
        let errands = Errands::on(on_vehicles.clone());
        let store = open_store(config, metrics, errands).await?;
        // Of a cluster that has ended nobody needs to be told anything.
        let _has_ended = cluster.note_health(store.is_taking()).await;
        Ok(store)
    };
    let finding = async {
        find_others(&config.discovery, cluster).await;
        Ok(())
    };
    let outcome = tokio::try_join!(opening, finding);
    if outcome.is_err() {
        // Nobody is to wait for a node that does not come.
        cluster.leave().await;
    }
    outcome.map(|(store, ())| store)
}

async fn open_store(
    config: &AppConfig,
    metrics: &Metrics,
    errands: Errands,
) -> Result<Store, AppError> {
    let (data, mut store_config) = (config.node.data.clone(), config.store.clone());
    if let Some(disk_bytes) = machine::disk_bytes(&data) {
        // On a small disk the reserve must leave room for the data.
        let reserve_bytes = &mut store_config.disk_reserve_bytes;
        *reserve_bytes = (*reserve_bytes).min(disk_bytes / 10);
    }
    let metrics = metrics.store.clone();
    let opened = tokio::task::spawn_blocking(move || -> Result<Store, AppError> {
        let folder = data.join("index");
        if store_config.is_indexed {
            let index_config = store_config.index();
            // fjall would make the folder and leave its name to the next sync of the data folder: what
            // is trimmed from the log before that would be lost in a power cut.
            Disk::open(&folder).map_err(|error| AppError::Folder(folder.clone(), error))?;
            let open = move || {
                let opened = FjallIndex::open(&folder, index_config.clone());
                opened.map_err(|error| error.in_folder(&folder))
            };
            let index = data.join("index");
            let opener = IndexOpener::new(open).with_set_aside(move || set_aside(&index));
            let parts = parts(opener, &data, errands)?;
            return open_with(parts, &store_config, metrics);
        }
        if folder.exists() {
            let why = io::Error::other("this data has an index, which would miss what comes now");
            return Err(AppError::Folder(folder, why));
        }
        let none = IndexOpener::new(|| Ok(NoIndex));
        open_with(parts(none, &data, errands)?, &store_config, metrics)
    });
    opened
        .await
        .unwrap_or_else(|error| Err(AppError::Failed(error.to_string())))
}

/// Puts the folder of a damaged index beside an empty one, in the place of one that was put there
/// before; where it is.
fn set_aside(index: &Path) -> io::Result<PathBuf> {
    let aside = index.with_extension("damaged");
    match fs::remove_dir_all(&aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::rename(index, &aside)?;
    Disk::open(index)?;
    Ok(aside)
}

fn parts<I: Index>(
    index: IndexOpener<I>,
    data: &Path,
    errands: Errands,
) -> Result<StoreParts<Disk, I>, AppError> {
    let folder = |name: &str| {
        let path = data.join(name);
        Disk::open(&path)
            .map(Arc::new)
            .map_err(|error| AppError::Folder(path, error))
    };
    Ok(StoreParts {
        log: folder("log")?,
        quarantine: folder("quarantine")?,
        index,
        clock: Arc::new(SystemClock),
        errands,
    })
}

fn open_with<I: Index>(
    parts: StoreParts<Disk, I>,
    config: &StoreConfig,
    metrics: StoreMetrics,
) -> Result<Store, AppError> {
    let (store, recovery) = Store::open(parts, config, metrics)?;
    if recovery.cut.is_some() {
        tracing::warn!(%recovery, "log opened; its end holds no whole record and was cut off");
    } else {
        tracing::info!(%recovery, "log opened");
    }
    Ok(store)
}
