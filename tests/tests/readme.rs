//! The commands of the README, run as they stand there.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use ferrohub_acceptance::{CommandOutput, Hub, Service, eventually, program, sas, target_dir};
use serde_json::Value;

/// Returns the shell block of the README that begins with this text.
fn block(begin: &str) -> String {
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md")).unwrap();
    let mut blocks = readme.split("```sh\n").skip(1).filter_map(|text| text.split("```").next());
    blocks.find(|block| block.starts_with(begin)).expect("the block").to_owned()
}

/// The processes that a block leaves behind, killed on drop.
struct Leftover {
    group: u32,
    folder: PathBuf,
}

impl Drop for Leftover {
    fn drop(&mut self) {
        for name in ["out.log", "data/hub.log"] {
            eprintln!("---- {name}:\n{}", fs::read_to_string(self.folder.join(name)).unwrap_or_default());
        }
        let _ = Command::new("kill").arg("--").arg(format!("-{}", self.group)).status();
        if let Some(hub) = hub_pid(&self.folder) {
            let _ = Command::new("kill").args(["-KILL", &hub.to_string()]).status();
        }
    }
}

fn hub_pid(folder: &Path) -> Option<u64> {
    let text = fs::read(folder.join("data/endpoints.json")).ok()?;
    serde_json::from_slice::<Value>(&text).ok()?["pid"].as_u64()
}

/// Returns the shell that runs a block in an empty folder, with the program under test in PATH. The addresses come from
/// the environment, because other tests use the same ports on other addresses.
fn shell_in(folder: &Path, block: &str) -> Command {
    let bare = program();
    let bin = Path::new(bare.get_program()).parent().unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let mut shell = Command::new("sh");
    for (name, _) in bare.get_envs() {
        shell.env_remove(name);
    }
    shell
        .args(["-c", block])
        .current_dir(folder)
        .env("PATH", path)
        .env("FERROHUB_DATA_DIR", folder.join("data"))
        .env("FERROHUB_LISTEN_MQTT", "localhost:8883")
        .env("FERROHUB_LISTEN_AMQP", "localhost:5671")
        .env("FERROHUB_LISTEN_HTTPS", "localhost:443")
        .env("FERROHUB_LISTEN_ADMIN", "localhost:9464");
    shell
}

#[test]
fn localhost_the_tutorial_of_the_readme_can_be_pasted_as_it_stands() {
    let folder = tempfile::tempdir().unwrap();
    // The programs of the tutorial, at the paths that they have in the repository.
    symlink(env!("CARGO_MANIFEST_DIR"), folder.path().join("tests")).unwrap();
    let output = folder.path().join("out.log");
    let mut command = shell_in(folder.path(), &block("python3 -m venv"));
    command.env("REBOOT_SECONDS", "0.1").env("PYTHONDONTWRITEBYTECODE", "1");
    // `cargo xtask clients` has downloaded the packages.
    let wheels = target_dir().join("wheels");
    assert!(wheels.exists(), "{} is missing: run `cargo xtask clients` once", wheels.display());
    command.env("PIP_NO_INDEX", "1").env("PIP_FIND_LINKS", &wheels);
    // The device runs on after the block, so the output is a file: a pipe would not end.
    let file = File::create(&output).unwrap();
    command.stdout(file.try_clone().unwrap()).stderr(file).process_group(0);
    let mut shell = command.spawn().unwrap();
    let _leftover = Leftover { group: shell.id(), folder: folder.path().to_owned() };
    let status = shell.wait().unwrap();
    let text = fs::read_to_string(&output).unwrap();
    assert!(status.success(), "{status}: {text}");
    assert!(text.contains("status 200: {'Response': 'This is the response from the device'}"), "{text}");
    let pid = hub_pid(folder.path()).expect("the process id of the hub");
    assert!(text.contains(&format!("stop it with: kill {pid}")), "{text}");

    let run = |text: &str| shell_in(folder.path(), text);
    // A second start in the same folder says why it fails, and leaves the first hub alone.
    let again = CommandOutput::run(&mut run("ferrohub serve --detach"));
    assert_eq!(again.code, 1, "{again:?}");
    assert!(again.stderr.contains("locked by another hub"), "{again:?}");
    let wait = CommandOutput::run(&mut run("ferrohub wait --timeout 20"));
    assert_eq!(wait.code, 0, "{wait:?}");
    // The printed command stops the hub.
    CommandOutput::run(&mut run(&format!("kill {pid}"))).success();
    eventually("the hub stops", Duration::from_secs(20), || {
        (!Path::new("/proc").join(pid.to_string()).exists()).then_some(())
    });
}

#[test]
fn localhost_commands_wait_for_a_hub_that_is_starting() {
    let folder = tempfile::tempdir().unwrap();
    let block = "ferrohub serve > out.log 2>&1 & eval \"$(ferrohub env)\" && ferrohub device create d && \
                 ferrohub device list";
    let shell = |text: &str| CommandOutput::run(shell_in(folder.path(), text).process_group(0));
    let _leftover = Stop(folder.path().to_owned());
    let listed = shell(block);
    assert!(listed.code == 0 && listed.stdout.contains("enabled"), "{listed:?}");
    // The addresses of the previous run are in the folder now.
    let pid = hub_pid(folder.path()).unwrap();
    shell(&format!("kill -KILL {pid}")).success();
    let listed = shell("ferrohub serve > out.log 2>&1 & ferrohub wait && ferrohub device list");
    assert!(listed.code == 0 && listed.stdout.contains("enabled"), "{listed:?}");
    let pid = hub_pid(folder.path()).unwrap();
    shell(&format!("kill -KILL {pid}")).success();
    let stopped = shell("ferrohub wait --timeout 0");
    assert!(stopped.code == 1 && stopped.stderr.contains("the hub is not ready after 0 s"), "{stopped:?}");
}

#[test]
fn localhost_the_guide_to_migrate_from_azure_can_be_pasted_as_it_stands() {
    let folder = tempfile::tempdir().unwrap();
    let guide = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/how-to/migrate-from-azure.md");
    let guide = fs::read_to_string(guide).unwrap();
    let blocks = guide.split("```sh\n").skip(1).filter_map(|text| text.split("```").next());
    let script = format!("set -e\n{}", blocks.collect::<String>());
    let _leftover = Stop(folder.path().to_owned());
    // The hub runs on after the script, so the output is a file: a pipe would not end.
    let output = folder.path().join("out.log");
    let file = File::create(&output).unwrap();
    let mut command = shell_in(folder.path(), &script);
    command.stdout(file.try_clone().unwrap()).stderr(file).process_group(0);
    let status = command.spawn().unwrap().wait().unwrap();
    let text = fs::read_to_string(&output).unwrap();
    assert!(status.success(), "{status}: {text}");
    for expected in
        ["imported 2 lines", "exported 4 lines", "4 exported.txt", "SharedAccessKey=AAECAwQFBgcICQoLDA0ODw=="]
    {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    assert!(!folder.path().join("devices.txt").exists());
}

#[test]
fn localhost_the_guide_to_backups_can_be_pasted_as_it_stands() {
    let folder = tempfile::tempdir().unwrap();
    let guide = fs::read_to_string(Path::new(ROOT).join("docs/how-to/back-up-and-restore.md")).unwrap();
    let blocks = guide.split("```sh\n").skip(1).filter_map(|text| text.split("```").next());
    let script = format!("set -e\n{}", blocks.collect::<String>());
    let _leftover = Stop(folder.path().to_owned());
    let output = folder.path().join("out.log");
    let file = File::create(&output).unwrap();
    let mut command = shell_in(folder.path(), &script);
    // The guide names the default data folder.
    command.env("FERROHUB_DATA_DIR", folder.path().join("ferrohub-data"));
    fs::create_dir(folder.path().join("ferrohub-data")).unwrap();
    symlink("ferrohub-data", folder.path().join("data")).unwrap();
    command.stdout(file.try_clone().unwrap()).stderr(file).process_group(0);
    let status = command.spawn().unwrap().wait().unwrap();
    let text = fs::read_to_string(&output).unwrap();
    assert!(status.success(), "{status}: {text}");
    for expected in ["backed up ", "restored ", "Nothing was revoked", "pump-1"] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
}

/// Kills the hub of the folder on drop.
struct Stop(PathBuf);

impl Drop for Stop {
    fn drop(&mut self) {
        if let Some(hub) = hub_pid(&self.0) {
            let _ = Command::new("kill").args(["-KILL", &hub.to_string()]).status();
        }
    }
}

/// The repository.
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// Returns the paths that a document names in backquotes, without what follows a colon.
fn paths(document: &str) -> Vec<String> {
    let text = fs::read_to_string(Path::new(ROOT).join(document)).unwrap();
    let is_path = |text: &&str| {
        text.contains('/') && !text.contains(['{', ' ', '*', '…', '$']) && !text.starts_with(['/', '-', '.'])
    };
    let quoted = text.split('`').skip(1).step_by(2).map(|text| text.split(": ").next().unwrap_or(text));
    quoted.filter(is_path).map(str::to_owned).collect()
}

#[test]
fn the_files_that_the_documents_for_contributors_name_exist() {
    // `devices/delete` and the like are data actions.
    let is_file = |path: &str| path.contains('.') || path.ends_with('/');
    let decisions = fs::read_dir(Path::new(ROOT).join("docs/decisions")).unwrap().map(|entry| {
        let name = entry.unwrap().file_name();
        format!("docs/decisions/{}", name.to_string_lossy())
    });
    let documents = ["ARCHITECTURE.md", "docs/how-to/add-an-operation.md"].map(str::to_owned);
    let mut named = 0;
    for document in documents.into_iter().chain(decisions) {
        for path in paths(&document).into_iter().filter(|path| is_file(path)) {
            named += 1;
            // ARCHITECTURE.md leaves out `crates/`.
            let exists =
                ["", "crates"].iter().any(|folder| Path::new(ROOT).join(folder).join(&path).exists());
            assert!(exists, "{document} names {path}, which does not exist");
        }
    }
    assert!(named > 60, "{named}");
}

#[test]
fn operations_that_are_not_there_yet_are_refused() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let token = sas::policy_token(hub.variable("IOTHUB_CONNECTION_STRING"));
    let path = "/getDevicesAndModulesInTargetDeviceScope?api-version=2021-04-12";
    let answer = service.http("POST", path, Some(&token), Some("{}"));
    assert!(answer.status == 404 || answer.status == 405, "{answer:?}");
}
