//! A set of mails with the truth about them, as the generator left it.

use std::{fs, path::Path};

use anyhow::Context as _;
use serde::Deserialize;

use crate::readers::Sum;

/// Mails, what is in them, and what is asked of reading them.
pub struct Profile {
    pub name: String,
    pub mails: Vec<Vec<u8>>,
    pub truth: Sum,
    pub goals: Goals,
}

/// The most that reading may cost, with the digest or without.
pub struct Goals {
    /// Times mail-auth.
    pub peer: f64,
    /// Times the floor.
    pub floor: f64,
}

/// What the generator says about the mails.
#[derive(Deserialize)]
struct Manifest {
    profile: String,
    mails: usize,
    records: u64,
    messages: u64,
}

impl Profile {
    /// Reads `folder/manifest.json` and `folder/mail/*`.
    pub fn load(folder: &Path) -> anyhow::Result<Self> {
        let manifest = fs::read(folder.join("manifest.json"))?;
        let manifest: Manifest = serde_json::from_slice(&manifest)?;
        let mut paths = Vec::new();
        for entry in fs::read_dir(folder.join("mail"))? {
            paths.push(entry?.path());
        }
        paths.sort();
        let mails: Vec<Vec<u8>> = paths.iter().map(fs::read).collect::<Result<_, _>>()?;
        let goals = match &*manifest.profile {
            "giant" => Goals {
                peer: 0.85,
                floor: 1.8,
            },
            _ => Goals {
                peer: 0.55,
                floor: 1.5,
            },
        };
        (mails.len() == manifest.mails)
            .then_some(Self {
                name: manifest.profile,
                mails,
                truth: Sum {
                    records: manifest.records,
                    messages: manifest.messages,
                },
                goals,
            })
            .context("the manifest is of other mails")
    }
}
