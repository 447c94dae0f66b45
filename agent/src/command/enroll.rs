//! `enroll`: trades an enrolment token for an id and a key of the host's own.

use super::{CommandError, arguments::EnrollArguments, check::say, client};
use crate::{
    credentials::{Credentials, Prepared},
    facts,
    push::{
        client::{Answer, Client},
        verdict::refusal,
    },
    server_url::ServerUrl,
    settings::{Said, Settings},
};
use edgewatch_shared::{
    HostName,
    keys::Key,
    wire::{EnrollBody, EnrollReply},
};

/// Where hosts enrol.
const PATH: &str = "/api/v1/enroll";

/// Enrols this host and keeps what the server gives it.
pub fn enroll(settings: &Settings, arguments: EnrollArguments) -> Result<(), CommandError> {
    let said = arguments.url.map(|text| Said { text, origin: "URL".to_owned() });
    // What the command itself says goes before every setting.
    let url = match said {
        Some(said) => Settings { url: Some(said), ..settings.clone() }.server_url(None)?,
        None => settings.server_url(None)?,
    };
    if let Some(Said { text, origin }) = &settings.url_in_file
        && ServerUrl::parse(text, true).ok().as_ref() != Some(&url)
    {
        return Err(CommandError::OtherServer { origin: origin.clone(), url: text.clone() });
    }
    let token = arguments.token.or_else(|| settings.token.clone());
    let token = token.ok_or(CommandError::NoEnrollmentToken)?;
    let name = settings.host_name(facts::own_name)?;
    if let Some(known) = known(settings, arguments.force)? {
        return Err(already(&known, settings));
    }
    let client = client(settings, url)?;
    let prepared = Prepared::in_dir(&settings.state_dir)?;
    let credentials = match ask(&client, &token, &name, arguments.tags) {
        Ok(credentials) => credentials,
        Err(error) => {
            prepared.discard();
            return Err(error);
        }
    };
    let path = prepared.keep(&credentials)?;
    say(&format!(
        "enrolled as {} ({}) at {}; credentials: {}",
        credentials.name,
        credentials.host_id,
        credentials.url,
        path.display()
    ));
    if arguments.force {
        say("an agent that runs goes on as who it was; restart it: systemctl restart edgewatch-agent");
    }
    Ok(())
}

/// What an earlier enrolment left, unless it is to be replaced, damaged or not.
pub fn known(settings: &Settings, is_forced: bool) -> Result<Option<Credentials>, CommandError> {
    if is_forced { Ok(None) } else { Ok(Credentials::load(&settings.state_dir)?) }
}

/// That it stands in the way of another.
pub fn already(known: &Credentials, settings: &Settings) -> CommandError {
    CommandError::AlreadyEnrolled {
        name: known.name.clone(),
        url: known.url.clone(),
        path: Credentials::path(&settings.state_dir).display().to_string(),
    }
}

fn ask(
    client: &Client,
    token: &str,
    name: &HostName,
    tags: Vec<String>,
) -> Result<Credentials, CommandError> {
    let refused = |why: String| CommandError::Refused { url: client.url().to_string(), why };
    let body =
        serde_json::to_vec(&EnrollBody { name: name.as_str().to_owned(), facts: facts::gather(), tags })
            .map_err(|error| refused(error.to_string()))?;
    let answer = client
        .post(PATH, token, "application/json", &body)
        .map_err(|error| CommandError::NoAnswer { url: client.url().to_string(), error })?;
    let reply = read_reply(&answer).map_err(refused)?;
    Ok(Credentials {
        url: client.url().to_string(),
        host_id: reply.host_id,
        host_key: reply.host_key,
        name: reply.name,
    })
}

/// The reply, if it is one and its key can be signed with; else what the server says instead.
fn read_reply(answer: &Answer) -> Result<EnrollReply, String> {
    if !(200..300).contains(&answer.status) {
        return Err(refusal(answer).1);
    }
    let reply: EnrollReply = serde_json::from_slice(&answer.body)
        .map_err(|_| "it answers, but not as an Edgewatch server".to_owned())?;
    Key::from_text(&reply.host_key).map_err(|error| format!("the host key it sent is unusable: {error}"))?;
    Ok(reply)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        Answer { status, retry_after_s: None, body: body.as_bytes().to_vec() }
    }

    #[test]
    fn a_reply_is_only_good_with_a_key_that_signs() {
        let reply = include_str!("../../../shared/tests/golden/enroll_reply.json");
        assert_eq!(read_reply(&answer(201, reply)).unwrap().name, "web-01");
        let unusable = reply.replace("AAECAwQF", "");
        assert!(read_reply(&answer(201, &unusable)).unwrap_err().contains("unusable"));
        assert!(read_reply(&answer(200, "<html>")).unwrap_err().contains("not as an Edgewatch"));
    }

    #[test]
    fn a_refusal_is_told_in_the_servers_words() {
        let refusal = r#"{"error":{"code":"enrollment_exhausted","message":"no uses left"}}"#;
        let told = read_reply(&answer(403, refusal)).unwrap_err();
        assert_eq!(told, "enrollment_exhausted: no uses left");
    }
}
