//! PostgreSQL, from Debian's package, with pgbench: a reference for durable writes.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, ensure};
use tempfile::TempDir;
use tokio::process::Command;

use super::{Environment, Protocol, Server, ServerSpec, free_address, version};

/// A table like that of the registry.
const SCHEMA: &str = "CREATE TABLE device (id text PRIMARY KEY, generation text NOT NULL, etag text NOT NULL, \
     status int NOT NULL, keys bytea NOT NULL, doc jsonb NOT NULL)";

/// Inserts a device with a random id.
pub(crate) const INSERT: &str = "INSERT INTO device VALUES (gen_random_uuid()::text, gen_random_uuid()::text, \
     gen_random_uuid()::text, 1, uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || \
     uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()), '{\"tags\":{\"site\":\"a\"}}'::jsonb);\n";

/// Reads one of the devices that [`fill`] created.
pub(crate) const GET: &str = "\\set n random(1, 20000)\n\
     SELECT id, generation, etag, status, keys, doc FROM device WHERE id = 'bench-' || :n;\n";

/// Changes the reported properties of a device.
pub(crate) const REPORT: &str = "\\set n random(1, 20000)\n\\set v random(1, 1000000)\n\
     UPDATE device SET doc = jsonb_set(doc, '{reported}', coalesce(doc->'reported', '{}') \
     || jsonb_build_object('counter', :v::int, 'temperature', 21.5)) WHERE id = 'bench-' || :n;\n";

/// Starts a server, with the default durability settings: all are on.
pub(crate) async fn start(environment: &Environment) -> anyhow::Result<Server> {
    let folder = tempfile::tempdir()?;
    let address = free_address()?;
    let programs = programs()?;
    let data = folder.path().join("data");
    // PostgreSQL refuses to run as root; its user must be able to access the folder.
    if is_root().await {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(folder.path(), mode)?;
        run(Command::new("install").args(["-d", "-o", "postgres", "-g", "postgres", "-m", "700"]).arg(&data))
            .await?;
    }
    let mut initdb = as_postgres(&programs.join("initdb")).await;
    initdb.arg("-D").arg(&data).args(["-U", "bench", "-A", "trust", "--encoding=UTF8", "--locale=C"]);
    run(initdb.arg("--no-instructions")).await?;
    let mut command = as_postgres(&programs.join("postgres")).await;
    command.arg("-D").arg(&data).args(["-c", "unix_socket_directories=", "-c", "max_connections=300"]).args(
        [
            "-c",
            &format!("listen_addresses={}", address.ip()),
            "-c",
            &format!("port={}", address.port()),
            "-c",
            "logging_collector=off",
        ],
    );
    let version = version(programs.join("postgres"), &["--version"]).await;
    let spec = ServerSpec {
        name: "postgresql",
        version,
        protocol: Protocol::Native,
        address,
        folder,
        helpers: Vec::new(),
    };
    let server = spec.start(environment, command).await?;
    // The server listens before it is ready.
    for _ in 0..100 {
        if sql(address, "SELECT 1").await.is_ok() {
            sql(address, SCHEMA).await?;
            return Ok(server);
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    anyhow::bail!("PostgreSQL is not ready after 10 s")
}

/// Creates the devices that [`GET`] and [`REPORT`] use.
pub(crate) async fn fill(address: SocketAddr) -> anyhow::Result<()> {
    let devices = "INSERT INTO device SELECT 'bench-' || n, md5('g' || n), md5('e' || n), 1, \
         decode(md5('p' || n) || md5('q' || n), 'hex'), '{\"tags\":{\"site\":\"a\"}}'::jsonb \
         FROM generate_series(1, 20000) n";
    sql(address, devices).await?;
    sql(address, "VACUUM (ANALYZE) device").await?;
    sql(address, "CHECKPOINT").await.map(drop)
}

/// Returns the number of flushes of the write-ahead log so far.
pub(crate) async fn flushes(address: SocketAddr) -> anyhow::Result<f64> {
    // The counters lag by up to a second.
    tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
    Ok(sql(address, "SELECT wal_sync FROM pg_stat_wal").await?.trim().parse()?)
}

/// Runs a script `count` times on each of `clients` connections. Returns transactions per second.
pub(crate) async fn pgbench(
    address: SocketAddr,
    script: &str,
    clients: usize,
    count: usize,
) -> anyhow::Result<f64> {
    let folder = TempDir::new()?;
    let file = folder.path().join("script.sql");
    std::fs::write(&file, script)?;
    let output = Command::new(programs()?.join("pgbench"))
        .args(["-n", "-M", "prepared", "-j", "2", "-h", &address.ip().to_string()])
        .args(["-p", &address.port().to_string(), "-U", "bench"])
        .args(["-c", &clients.to_string(), "-t", &count.to_string(), "-f"])
        .arg(&file)
        .arg("postgres")
        .output()
        .await?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "pgbench failed: {}", String::from_utf8_lossy(&output.stderr));
    let line = text.lines().find_map(|line| line.strip_prefix("tps = ")).context("pgbench printed no tps")?;
    Ok(line.split(' ').next().unwrap_or_default().parse()?)
}

pub(crate) async fn sql(address: SocketAddr, statement: &str) -> anyhow::Result<String> {
    let output = Command::new("psql")
        .args(["-X", "-q", "-A", "-t", "-h", &address.ip().to_string(), "-p", &address.port().to_string()])
        .args(["-U", "bench", "-d", "postgres", "-v", "ON_ERROR_STOP=1", "-c", statement])
        .output()
        .await?;
    ensure!(output.status.success(), "psql failed: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Returns the folder with the programs of the newest version.
fn programs() -> anyhow::Result<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .context("PostgreSQL is missing; run `cargo xtask bench --install`")?
        .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
        .collect();
    found.sort();
    found.pop().context("PostgreSQL is missing; run `cargo xtask bench --install`")
}

async fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output().await;
    output.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

/// Returns a command for the program, as the user `postgres` if this process runs as root. `setpriv` executes the
/// program in the same process.
async fn as_postgres(program: &Path) -> Command {
    if !is_root().await {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--reset-env"]).arg(program);
    command.current_dir("/");
    command
}

async fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command.stdin(Stdio::null()).output().await?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
