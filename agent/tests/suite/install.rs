//! Becoming a service, as far as files go. What systemd makes of the unit is in `unit.rs`; what it is to be a service under
//! a systemd that runs, in `e2e/tests/systemd.rs`.

use super::agent_process::Home;
use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command};

fn told(home: &Home, arguments: &[&str]) -> (Option<i32>, String) {
    let output = home.output(arguments, &[]);
    let text = [output.stdout.as_slice(), &output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

/// Files and directories below, with their modes.
fn below(dir: &Path) -> Vec<(String, u32)> {
    let mut found = Vec::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let metadata = fs::metadata(&path).unwrap();
            if metadata.is_dir() {
                folders.push(path.clone());
            }
            let name = path.strip_prefix(dir).unwrap().display().to_string();
            found.push((name, metadata.permissions().mode() & 0o777));
        }
    }
    found.sort();
    found
}

#[test]
fn files_are_laid_out_once_and_go_again_but_for_what_is_the_operators() {
    let home = Home::new();
    let root = home.state_dir().with_extension("root");
    let to = root.display().to_string();
    let install = ["install", "--root", &to, "--ca-file", "/etc/ca.pem"];
    let (code, text) = told(&home, &install);
    assert_eq!(code, Some(0), "{text}");
    let files: Vec<(String, u32)> =
        below(&root).into_iter().filter(|(name, _)| root.join(name).is_file()).collect();
    let expected = [
        ("etc/edgewatch/agent.toml", 0o640),
        ("etc/systemd/system/edgewatch-agent-update.service", 0o644),
        ("etc/systemd/system/edgewatch-agent-update.timer", 0o644),
        ("etc/systemd/system/edgewatch-agent.service", 0o644),
        ("usr/local/bin/edgewatch-agent", 0o755),
    ];
    assert_eq!(files, expected.map(|(name, mode)| (name.to_owned(), mode)));
    assert!(below(&root).contains(&("var/lib/edgewatch-agent".to_owned(), 0o700)));
    let binary = fs::read(root.join("usr/local/bin/edgewatch-agent")).unwrap();
    assert!(binary == fs::read(env!("CARGO_BIN_EXE_edgewatch-agent")).unwrap());
    let config = root.join("etc/edgewatch/agent.toml");
    assert!(fs::read_to_string(&config).unwrap().ends_with("\nca_file = \"/etc/ca.pem\"\n"));

    fs::write(&config, "name = \"mine\"\n").unwrap();
    let (code, text) = told(&home, &install);
    assert_eq!((code, text.contains("wrote")), (Some(0), false), "{text}");
    assert_eq!(fs::read_to_string(&config).unwrap(), "name = \"mine\"\n");

    fs::write(root.join("usr/local/bin/edgewatch-agent.old"), "of an update").unwrap();
    for _ in 0..2 {
        let (code, text) = told(&home, &["uninstall", "--root", &to]);
        assert_eq!(code, Some(0), "{text}");
        assert!(text.contains("--purge removes them too"), "{text}");
        let left: Vec<String> = below(&root).into_iter().map(|(name, _)| name).collect();
        assert!(left.contains(&"etc/edgewatch/agent.toml".to_owned()), "{left:?}");
        assert!(left.contains(&"var/lib/edgewatch-agent".to_owned()), "{left:?}");
        assert!(!left.iter().any(|name| name.contains("system/") || name.contains("bin/")), "{left:?}");
    }
    assert_eq!(told(&home, &["uninstall", "--purge", "--root", &to]).0, Some(0));
    assert!(below(&root).iter().all(|(name, _)| root.join(name).is_dir()), "{:?}", below(&root));
}

#[test]
fn whatever_the_shells_umask_everybody_can_reach_what_is_laid_out() {
    let home = Home::new();
    let root = home.state_dir().with_extension("root");
    let command = format!("umask 077; \"$0\" install --root '{}'", root.display());
    let shell =
        Command::new("sh").args(["-c", &command, env!("CARGO_BIN_EXE_edgewatch-agent")]).output().unwrap();
    assert!(shell.status.success(), "{shell:?}");
    for dir in ["etc/edgewatch", "etc/systemd/system", "usr/local/bin"] {
        let mode = fs::metadata(root.join(dir)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o755, "{dir}");
    }
}

#[test]
fn what_a_package_brought_is_left_to_its_package_manager() {
    let home = Home::new();
    let root = home.state_dir().with_extension("root");
    let unit = root.join("usr/lib/systemd/system/edgewatch-agent.service");
    fs::create_dir_all(unit.parent().unwrap()).unwrap();
    fs::write(&unit, "").unwrap();
    let before = below(&root);
    for verb in ["install", "uninstall"] {
        let (code, text) = told(&home, &[verb, "--root", &root.display().to_string()]);
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains("a package brought the agent"), "{text}");
        assert_eq!(below(&root), before);
    }
}

#[test]
fn who_may_not_install_or_has_no_systemd_is_told_what_to_do() {
    let home = Home::new();
    let is_root = rustix::process::geteuid().is_root();
    if is_root && Path::new("/run/systemd/system").is_dir() {
        eprintln!("SKIPPED: this machine's services are not a test's to change");
        return;
    }
    for verb in ["install", "uninstall"] {
        let (code, text) = told(&home, &[verb]);
        assert_eq!(code, Some(1), "{text}");
        let advice = if is_root { "not run by systemd: copy the binary" } else { "sudo edgewatch-agent" };
        assert!(text.contains(advice), "{text}");
    }
}
