//! What Talos spells its own way: where nothing says a setting in our spelling, its words are taken for it.

use crate::check::Finding;
use crate::env::Setting;
use crate::overlay::overlay;
use crate::path::Path;
use crate::yaml::node::{Content, Node};

const HOST_DEFAULT: &str = "0.0.0.0";
const HTTP_PORT_DEFAULT: &str = "4420";
const METRICS_PORT_DEFAULT: &str = "4422";

/// Takes over the listeners of `serve` and the database of `db`.
pub(crate) fn adopt(tree: &mut Node) -> Vec<Finding> {
    let http = (&["server", "listen"], &["serve", "http"], HTTP_PORT_DEFAULT);
    let metrics = (&["server", "metrics_listen"], &["serve", "metrics"], METRICS_PORT_DEFAULT);
    let listeners =
        [http, metrics].into_iter().filter_map(|(ours, theirs, port)| listener(tree, ours, theirs, port));
    let settings: Vec<_> = listeners.chain(database(tree)).collect();
    let applied = settings.into_iter().map(|setting| overlay(tree, setting?).map(drop));
    applied.filter_map(Result::err).collect()
}

/// `host` and `port` below `theirs`, as one address. What is no text is left for the check to name.
fn listener(tree: &Node, ours: &[&str], theirs: &[&str], port: &str) -> Option<Result<Setting, Finding>> {
    if tree.at(&Path::of_keys(ours)).is_some_and(|node| !node.is_null()) {
        return None;
    }
    let part = |key: &str| {
        let path = Path::of_keys(&[theirs, &[key]].concat());
        tree.at(&path).filter(|node| !node.is_null()).map(|node| (path, node))
    };
    let (host, given_port) = (part("host"), part("port"));
    let origin = host.as_ref().or(given_port.as_ref())?.1.origin;
    let (host_path, host) = match host {
        Some((path, node)) => (path, text(node)?),
        None => (Path::default(), HOST_DEFAULT),
    };
    let port = match &given_port {
        Some((_, node)) => text(node).filter(|port| port.parse::<u16>().is_ok())?,
        None => port,
    };
    let address = match host.trim_start_matches('[').trim_end_matches(']') {
        "localhost" => format!("127.0.0.1:{port}"),
        host => match host.parse::<std::net::IpAddr>() {
            Ok(std::net::IpAddr::V4(_)) => format!("{host}:{port}"),
            Ok(std::net::IpAddr::V6(_)) => format!("[{host}]:{port}"),
            Err(_) => {
                let message = "expected an IP address to listen on, or localhost".to_owned();
                return Some(Err(Finding::new(origin, host_path.to_string(), message)));
            }
        },
    };
    let node = Node::external(&address, origin);
    Some(Ok(Setting { path: Path::of_keys(ours), node, appended: false }))
}

fn database(tree: &Node) -> Option<Result<Setting, Finding>> {
    let (ours, theirs) = (Path::of_keys(&["store", "url"]), Path::of_keys(&["db", "dsn"]));
    if tree.at(&ours).is_some_and(|node| !node.is_null()) {
        return None;
    }
    let node = tree.at(&theirs).filter(|node| !node.is_null())?;
    let dsn = text(node)?;
    let url = match dsn.strip_prefix("sqlite3:").or_else(|| dsn.strip_prefix("sqlite:")) {
        // What stands behind the path sets up a pool of another driver.
        Some(file) => format!("sqlite:{}", file.split_once('?').map_or(file, |(path, _)| path)),
        None if dsn.starts_with("postgres://") || dsn.starts_with("postgresql://") => dsn.to_owned(),
        None => {
            let message = "expected sqlite://... or postgres://...".to_owned();
            return Some(Err(Finding::new(node.origin, theirs.to_string(), message)));
        }
    };
    Some(Ok(Setting { path: ours, node: Node::external(&url, node.origin), appended: false }))
}

fn text(node: &Node) -> Option<&str> {
    match &node.content {
        Content::Scalar(scalar) => Some(&scalar.text),
        Content::List(_) | Content::Map(_) => None,
    }
}
