//! The agent as a container image for both kinds of machines: an OCI image layout, in one archive.
//!
//! Format: the OCI image specification 1.1. In the image are the program and the folder for its state, nothing else.

use super::{
    archive::{Entry, tar, tar_gz},
    target::Target,
};
use crate::hex;
use anyhow::Result;
use edgewatch_shared::TimestampMs;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// The user that the agent runs as: nobody's on the host, as other images without users have it.
const USER: u64 = 65532;
/// Where the agent keeps its credentials and its spool.
const STATE_DIR: &str = "var/lib/edgewatch-agent";

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// The layout as a tar archive. `programs`: the agent for each target. `time`: seconds since 1970, when it was made.
pub fn image(version: &str, programs: &[(&Target, Vec<u8>)], time: u64) -> Result<Vec<u8>> {
    let mut blobs = Blobs(vec![Entry::dir("blobs"), Entry::dir("blobs/sha256")]);
    let created = TimestampMs(i64::try_from(time)?.saturating_mul(1_000)).to_rfc3339();
    let manifests = programs
        .iter()
        .map(|(target, program)| {
            let mut manifest = manifest(&mut blobs, target, program, version, &created, time)?;
            manifest["platform"] = json!({"architecture": target.debian, "os": "linux"});
            Ok(manifest)
        })
        .collect::<Result<Vec<Value>>>()?;
    let mut all =
        blobs.add(INDEX, &json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}))?;
    all["annotations"] = json!({
        "org.opencontainers.image.ref.name": version,
        // What Podman and Docker call it once they have loaded it; by the name above they would call it after the version.
        "io.containerd.image.name": format!("localhost/edgewatch-agent:{version}"),
    });
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [all]});
    let mut entries = vec![
        Entry::file("oci-layout", 0o644, br#"{"imageLayoutVersion":"1.0.0"}"#),
        Entry::file("index.json", 0o644, serde_json::to_vec(&index)?),
    ];
    entries.append(&mut blobs.0);
    tar(&entries, time)
}

/// The image of one kind of machine.
fn manifest(
    blobs: &mut Blobs,
    target: &Target,
    program: &[u8],
    version: &str,
    created: &str,
    time: u64,
) -> Result<Value> {
    let mut state_dir = Entry::dir(STATE_DIR);
    (state_dir.owner, state_dir.mode) = (USER, 0o700);
    let entries =
        [Entry::file("edgewatch-agent", 0o755, program), Entry::dir("var"), Entry::dir("var/lib"), state_dir];
    let layer = blobs.add_bytes(LAYER, tar_gz(&entries, time)?);
    let config = json!({
        "created": created,
        "architecture": target.debian,
        "os": "linux",
        "config": {
            "User": format!("{USER}:{USER}"),
            "Env": [format!("EDGEWATCH_STATE_DIR=/{STATE_DIR}")],
            "Entrypoint": ["/edgewatch-agent"],
            "Cmd": ["run"],
            "Volumes": {format!("/{STATE_DIR}"): {}},
            "Labels": {
                "org.opencontainers.image.title": "edgewatch-agent",
                "org.opencontainers.image.version": version,
                "org.opencontainers.image.licenses": env!("CARGO_PKG_LICENSE"),
                "org.opencontainers.image.source": env!("CARGO_PKG_REPOSITORY"),
            },
        },
        "rootfs": {"type": "layers", "diff_ids": [digest(&tar(&entries, time)?)]},
        "history": [{"created": created, "created_by": "cargo xtask release"}],
    });
    let config = blobs.add(CONFIG, &config)?;
    let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer]});
    blobs.add(MANIFEST, &manifest)
}

/// What the layout holds, by content.
struct Blobs(Vec<Entry>);

impl Blobs {
    /// Adds a document; the descriptor that names it.
    fn add(&mut self, media_type: &str, document: &Value) -> Result<Value> {
        Ok(self.add_bytes(media_type, serde_json::to_vec(document)?))
    }

    fn add_bytes(&mut self, media_type: &str, content: Vec<u8>) -> Value {
        let digest = digest(&content);
        let descriptor = json!({"mediaType": media_type, "digest": digest, "size": content.len()});
        self.0.push(Entry::file(&format!("blobs/{}", digest.replace(':', "/")), 0o644, content));
        descriptor
    }
}

fn digest(content: &[u8]) -> String {
    format!("sha256:{}", hex(&Sha256::digest(content)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::release::target::TARGETS;
    use std::{collections::BTreeMap, io::Read};

    const TIME: u64 = 1_795_248_000;

    /// Files of an archive, by path.
    fn read(archive: &[u8]) -> BTreeMap<String, Vec<u8>> {
        let mut archive = tar::Archive::new(archive);
        let files = archive.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().display().to_string();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            (path, content)
        });
        files.collect()
    }

    /// The document that a descriptor names, which has to be of the size and the digest that it says.
    fn follow(files: &BTreeMap<String, Vec<u8>>, descriptor: &Value) -> Vec<u8> {
        let digest = descriptor["digest"].as_str().unwrap();
        let content = &files[&format!("blobs/{}", digest.replace(':', "/"))];
        assert_eq!(descriptor["size"].as_u64().unwrap(), content.len() as u64);
        assert_eq!(digest, super::digest(content));
        content.clone()
    }

    fn document(files: &BTreeMap<String, Vec<u8>>, descriptor: &Value) -> Value {
        serde_json::from_slice(&follow(files, descriptor)).unwrap()
    }

    #[test]
    fn every_digest_of_the_image_leads_to_what_it_says() {
        let programs: Vec<_> =
            TARGETS.iter().map(|target| (target, target.machine.as_bytes().to_vec())).collect();
        let image = image("1.2.3", &programs, TIME).unwrap();
        let files = read(&image);
        assert_eq!(files["oci-layout"], br#"{"imageLayoutVersion":"1.0.0"}"#);
        let index: Value = serde_json::from_slice(&files["index.json"]).unwrap();
        let all = &index["manifests"][0];
        assert_eq!(all["annotations"]["org.opencontainers.image.ref.name"], "1.2.3");
        assert_eq!(all["annotations"]["io.containerd.image.name"], "localhost/edgewatch-agent:1.2.3");
        let manifests = document(&files, all)["manifests"].as_array().unwrap().clone();
        assert_eq!(manifests.len(), TARGETS.len());
        for (target, descriptor) in TARGETS.iter().zip(&manifests) {
            assert_eq!(descriptor["platform"]["architecture"], target.debian);
            let manifest = document(&files, descriptor);
            let config = document(&files, &manifest["config"]);
            assert_eq!(config["config"]["User"], "65532:65532");
            assert_eq!(config["architecture"], target.debian);
            assert_eq!(config["created"], "2026-11-21T08:00:00Z");
            let mut layer = Vec::new();
            let packed = follow(&files, &manifest["layers"][0]);
            flate2::read::GzDecoder::new(packed.as_slice()).read_to_end(&mut layer).unwrap();
            assert_eq!(config["rootfs"]["diff_ids"][0], digest(&layer));
            assert_eq!(read(&layer)["edgewatch-agent"], target.machine.as_bytes());
        }
        assert_eq!(image, super::image("1.2.3", &programs, TIME).unwrap());
    }
}
