//! Output of the command line: closed pipes, JSON, escaping, and messages about what was not found or not shown.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]

use std::fs;
use std::path::Path;
use std::process::Command;

use ferrohub_acceptance::{CommandOutput, Hub, Service, program, sas};
use serde_json::{Value, json};

/// Runs a shell script in which `$F` is the program under test with the configuration of this hub.
fn script(hub: &Hub, script: &str) -> CommandOutput {
    let bare = program();
    let mut shell = Command::new("bash");
    for (name, _) in bare.get_envs() {
        shell.env_remove(name);
    }
    let f = format!("{} --config {}", Path::new(bare.get_program()).display(), config(hub));
    CommandOutput::run(shell.args(["-c", script]).env("F", f))
}

fn config(hub: &Hub) -> String {
    hub.folder().join("hub.toml").display().to_string()
}

fn stderr_json(output: &CommandOutput) -> Value {
    serde_json::from_str(&output.stderr).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

#[test]
fn a_closed_pipe_ends_a_command_quietly() {
    let hub = Hub::start();
    hub.command(["device", "create", "d"]).success();
    for command in
        ["completions bash", "config --sample", "env", "device list", "device show d --output json"]
    {
        // The reader has ended before the command writes.
        let output = script(&hub, &format!("{{ sleep 0.3; $F {command}; echo $? >&2; }} | true"));
        assert_eq!(output.stderr, "141\n", "{command}");
        let output = script(&hub, &format!("$F {command} > /dev/null 2>&1; echo $?"));
        assert_eq!(output.stdout, "0\n", "{command}");
    }
    // A closed standard error does not matter.
    for (command, code) in [
        ("device show nope", 1),
        ("device frobnicate", 2),
        ("device create 'a;b'", 0),
        ("module create d 'a;b'", 0),
        ("ca export", 0),
    ] {
        let output = script(&hub, &format!("{{ sleep 0.3; $F {command} > /dev/null; echo $?; }} 2> >(true)"));
        assert_eq!(output.stdout, format!("{code}\n"), "{command}");
    }
}

#[test]
fn a_monitor_ends_when_its_reader_has_ended() {
    let hub = Hub::start();
    hub.command(["device", "create", "d"]).success();
    for _ in 0..3 {
        hub.command(["send-event", "d", "{}"]).success();
    }
    // Nothing is sent after the second event: the monitor must notice the closed pipe on its own.
    let output = script(
        &hub,
        "set -o pipefail; timeout 60 $F monitor events --from start --output json | head -2; echo ${PIPESTATUS[0]}",
    );
    let lines: Vec<&str> = output.stdout.lines().collect();
    assert_eq!((lines.len(), lines.last()), (3, Some(&"141")), "{output:?}");
    assert_eq!(output.stderr, "", "with JSON there are no sentences");
    for monitor in ["feedback", "files"] {
        let output =
            script(&hub, &format!("timeout 60 $F monitor {monitor} | true; echo ${{PIPESTATUS[0]}}"));
        assert_eq!(output.stdout, "141\n", "{output:?}");
    }
    let output = script(&hub, "timeout 60 $F c2d receive d --wait 50 | true; echo ${PIPESTATUS[0]}");
    assert_eq!(output.stdout, "141\n", "{output:?}");
}

#[test]
fn json_output_is_json_for_every_outcome() {
    let hub = Hub::start();
    let json = |command: &str| {
        let arguments: Vec<&str> = command.split(' ').chain(["--output", "json"]).collect();
        hub.command(arguments)
    };
    let result = |command: &str| {
        let output = json(command);
        assert_eq!(output.code, 0, "{output:?}");
        serde_json::from_str::<Value>(&output.stdout).unwrap_or_else(|error| panic!("{command}: {error}"))
    };
    result("device create d");
    result("module create d m");
    let login = result("device connection-string d")["connectionString"].as_str().unwrap().to_owned();
    assert!(login.starts_with("HostName=") && login.contains("DeviceId=d;"), "{login}");
    let login = result("module connection-string d m")["connectionString"].as_str().unwrap().to_owned();
    assert!(login.contains("ModuleId=m;"), "{login}");
    assert_eq!(result("module delete d m"), json!({ "deviceId": "d", "moduleId": "m", "deleted": true }));
    assert_eq!(result("device delete d"), json!({ "deviceId": "d", "deleted": true }));

    let missing = json("device show d");
    assert_eq!((missing.code, missing.stdout.as_str()), (1, ""));
    let error = &stderr_json(&missing)["error"];
    assert_eq!(
        (&error["code"], &error["codeName"], &error["status"]),
        (&404_001.into(), &"DeviceNotFound".into(), &404.into())
    );
    assert!(error["message"].as_str().unwrap().contains("There is no device d"), "{error}");
    assert!(error["hint"].as_str().unwrap().contains("ferrohub device list"), "{error}");
    let wrong = json("device frobnicate");
    assert_eq!((wrong.code, wrong.stdout.as_str()), (2, ""));
    assert!(stderr_json(&wrong)["error"]["message"].as_str().unwrap().contains("frobnicate"));
}

#[test]
fn a_list_that_is_cut_off_says_how_many_devices_there_are() {
    let hub = Hub::start();
    for id in ["a", "b", "c"] {
        hub.command(["device", "create", id]).success();
    }
    let cut = hub.command(["device", "list", "--top", "1"]);
    assert_eq!(cut.stderr, "showing 1 of 3 devices; list more with --top or --all\n");
    let cut = hub.command(["device", "list", "--top", "2", "--output", "json"]);
    assert_eq!(
        stderr_json(&cut),
        json!({ "warning": "showing 2 of 3 devices; list more with --top or --all" })
    );
    assert_eq!(serde_json::from_str::<Value>(&cut.stdout).unwrap().as_array().unwrap().len(), 2);
    for complete in [&["device", "list"][..], &["device", "list", "--top", "3"]] {
        assert_eq!(hub.command(complete.iter().copied()).stderr, "");
    }
    let service = Service::owner(&hub);
    let token = sas::policy_token(hub.variable("IOTHUB_CONNECTION_STRING"));
    let listed = service.http("GET", "/devices?top=2&api-version=2021-04-12", Some(&token), None);
    assert_eq!(listed.header("ferrohub-total-count"), "3");
    assert_eq!(listed.json().as_array().unwrap().len(), 2);
}

#[test]
fn texts_from_the_registry_cannot_control_the_terminal() {
    let hub = Hub::start();
    let hostile = "\u{1b}[2J\u{9b}31m\u{202e}txt\nDevice  forged";
    hub.command(["device", "create", "d"]).success();
    hub.command(["device", "update", "d", "--reason", hostile]).success();
    hub.command(["module", "create", "d", "m", "--managed-by", "x\u{202e}\u{1b}]0;t\u{7}"]).success();
    hub.command(["twin", "update", "d", "--tags", &json!({ "a": hostile }).to_string()]).success();
    for command in ["device show d", "module list d", "module show d m", "twin show d"] {
        for output in [&[][..], &["--output", "json"]] {
            let output = hub.command(command.split(' ').chain(output.iter().copied())).success();
            let unsafe_character =
                output.chars().find(|c| (c.is_control() && *c != '\n') || *c == '\u{202e}');
            assert_eq!(unsafe_character, None, "{command}: {output:?}");
            assert!(!output.lines().any(|line| line.starts_with("Device  forged")), "{output}");
        }
    }
    let shown = hub.command(["device", "show", "d", "--output", "json"]).success();
    assert_eq!(serde_json::from_str::<Value>(&shown).unwrap()["statusReason"], hostile);
    let refused = hub.command(["device", "show", "no\u{1b}[2Jpe"]);
    assert!(refused.code == 1 && !refused.stderr.contains('\u{1b}'), "{refused:?}");
}

#[test]
fn an_update_that_changes_nothing_says_so() {
    let hub = Hub::start();
    hub.command(["device", "create", "d"]).success();
    hub.command(["module", "create", "d", "m", "--managed-by", "x"]).success();
    for command in [&["device", "update", "d"][..], &["module", "update", "d", "m"]] {
        let nothing = hub.command(command.iter().copied());
        assert!(nothing.code == 1 && nothing.stderr.contains("nothing to change: give --"), "{nothing:?}");
    }
    let etag = || {
        let shown = hub.command(["device", "show", "d", "--output", "json"]).success();
        serde_json::from_str::<Value>(&shown).unwrap()["etag"].clone()
    };
    let before = etag();
    let same = hub.command(["device", "update", "d", "--enable"]);
    assert!(same.code == 0 && same.stderr.contains("nothing changed"), "{same:?}");
    assert_eq!(etag(), before);
    let same = hub.command(["module", "update", "d", "m", "--managed-by", "x"]);
    assert!(same.code == 0 && same.stderr.contains("nothing changed"), "{same:?}");
    let changed = hub.command(["device", "update", "d", "--disable"]);
    assert_eq!((changed.code, changed.stderr.as_str()), (0, ""));
    assert_ne!(etag(), before);
}

#[test]
fn the_key_to_regenerate_is_given_in_the_same_way_everywhere() {
    let hub = Hub::start();
    hub.command(["device", "create", "d"]).success();
    hub.command(["module", "create", "d", "m"]).success();
    for target in [
        &["policy", "regenerate-key", "service"][..],
        &["device", "regenerate-key", "d"],
        &["module", "regenerate-key", "d", "m"],
    ] {
        for key in [&["primary"][..], &["--key", "secondary"]] {
            hub.command(target.iter().chain(key).copied()).success();
        }
        for wrong in [&[][..], &["primary", "--key", "secondary"], &["tertiary"]] {
            assert_eq!(hub.command(target.iter().chain(wrong).copied()).code, 2, "{target:?} {wrong:?}");
        }
    }
}

#[test]
fn a_failed_command_names_the_cause_once_and_a_fitting_remedy() {
    let mut hub = Hub::start();
    hub.command(["device", "create", "d", "--disabled"]).success();
    let disabled = hub.command(["invoke", "d", "m"]);
    assert!(disabled.stderr.contains("--enable") && !disabled.stderr.contains("device list"), "{disabled:?}");
    let module = hub.command(["invoke", "d/m", "x"]);
    assert!(module.stderr.contains("module list") && !module.stderr.contains("device list"), "{module:?}");
    let silent = script(&hub, "timeout 2 $F monitor files");
    assert!(silent.stderr.contains("file notifications are off"), "{silent:?}");
    hub.stop();
    let stopped = hub.command(["device", "list"]);
    assert_eq!(stopped.code, 1);
    assert!(stopped.stderr.contains(&format!("{}:443", hub.name())), "{stopped:?}");
    assert_eq!(stopped.stderr.matches("refused").count(), 1, "{stopped:?}");
    assert!(stopped.stderr.contains("ferrohub serve"), "{stopped:?}");
}

#[test]
fn a_wrong_setting_is_refused_before_the_data_folder_exists() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    for (flags, expected) in [
        (["--log-level", "infoo"], "did you mean info?"),
        (["--log-format", "jsn"], "log"),
        (["--listen-mqtt", "8884"], "did you mean \"[::]:8884\""),
        (["--listen-https", "localhost"], "listen.https must be an address and a port"),
        (["--listen-admin", "0.0.0.0:0"], "listen.admin must be a loopback address"),
    ] {
        let mut serve = program();
        serve.current_dir(folder.path()).arg("serve").args(flags).arg("--data-dir").arg(&data);
        let output = CommandOutput::run(&mut serve);
        assert!(output.code == 1 && output.stderr.contains(expected), "{flags:?}: {output:?}");
        assert!(!data.exists(), "{flags:?}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}
