//! What a deployer sets: the secrets and the variables of `wrangler.toml`.

use crate::api_error::ApiError;
use edgewatch_engine::quota::{self, Plan, Quota};
use edgewatch_shared::{ErrorCode, keys::Keyring, limits::SECRET_BYTES_MIN};
use std::{cell::RefCell, rc::Rc};
use worker::Env;

/// Settings, read once an instance.
pub struct Settings {
    /// `EDGEWATCH_SECRET`, and `EDGEWATCH_SECRET_PREVIOUS` while rotating.
    pub keyring: Keyring,
    /// `CORS_ORIGINS`: origins that pages may call the API from, separated by commas; none by default.
    pub cors_origins: Vec<String>,
    /// `PLAN`: `free` (default) or `paid`.
    pub plan: Plan,
    /// `RELEASES_URL`: where `/install.sh` finds releases of the agent, unread.
    pub releases_url: Option<String>,
    /// `RELEASE_KEY`: whose releases `/install.sh` believes, unread.
    pub release_key: Option<String>,
}

thread_local! {
    static SETTINGS: RefCell<Option<Rc<Settings>>> = const { RefCell::new(None) };
}

impl Settings {
    /// The instance's settings.
    pub fn of(env: &Env) -> Result<Rc<Self>, ApiError> {
        if let Some(settings) = SETTINGS.with_borrow(Clone::clone) {
            return Ok(settings);
        }
        let settings = Rc::new(Self::read(env)?);
        SETTINGS.set(Some(Rc::clone(&settings)));
        Ok(settings)
    }

    fn read(env: &Env) -> Result<Self, ApiError> {
        let text = |name: &str| env.var(name).ok().map(|value| value.to_string());
        let current = text("EDGEWATCH_SECRET").unwrap_or_default();
        let previous = text("EDGEWATCH_SECRET_PREVIOUS").filter(|secret| !secret.is_empty());
        let keyring = Keyring::new(current.as_bytes(), previous.as_deref().map(str::as_bytes)).map_err(|_| {
            ApiError::new(
                ErrorCode::Misconfigured,
                format!(
                    "EDGEWATCH_SECRET must be set to at least {SECRET_BYTES_MIN} bytes: `openssl rand -hex 32 | \
                     npx wrangler secret put EDGEWATCH_SECRET` (EDGEWATCH_SECRET_PREVIOUS, where set, likewise)"
                ),
            )
        })?;
        let origins = text("CORS_ORIGINS").unwrap_or_default();
        let origins = origins.split(',').map(str::trim).filter(|origin| !origin.is_empty());
        let plan = plan(env).map_err(|text| {
            let message = format!("PLAN in wrangler.toml is {text:?}; it must be free or paid");
            ApiError::new(ErrorCode::Misconfigured, message)
        })?;
        let set = |name: &str| text(name).filter(|value| !value.is_empty());
        Ok(Self {
            keyring,
            cors_origins: origins.map(ToOwned::to_owned).collect(),
            plan,
            releases_url: set("RELEASES_URL"),
            release_key: set("RELEASE_KEY"),
        })
    }
}

/// The plan that the Worker runs on, or the text that is none.
pub fn plan(env: &Env) -> Result<Plan, String> {
    let text = env.var("PLAN").map(|value| value.to_string()).unwrap_or_default();
    if text.is_empty() { Ok(Plan::default()) } else { Plan::parse(&text).ok_or(text) }
}

/// The plan's quotas (or, in a test build, less than that).
pub fn quotas(plan: Plan) -> Vec<Quota> {
    let quotas = quota::quotas(plan).to_vec();
    #[cfg(feature = "test-hooks")]
    let quotas = crate::test_hooks::lowered(quotas);
    quotas
}
