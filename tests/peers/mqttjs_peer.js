// MQTT.js as a client that does the commands of its standard input and reports events.
// Both are JSON lines; they are described in `harness/client/command.rs`.
"use strict";

const mqtt = require("mqtt");
const readline = require("node:readline");

const VERSIONS = {
  "3.1": { protocolVersion: 3, protocolId: "MQIsdp" },
  "3.1.1": { protocolVersion: 4 },
  5: { protocolVersion: 5 },
};

let client;
let is5;

function report(event, fields) {
  process.stdout.write(`${JSON.stringify({ event, ...fields })}\n`);
}

// Those of the conversation as those of the library, which sends nothing if one has no value.
function toLibrary(properties) {
  const correlation = properties.correlation_data;
  let userProperties;
  for (const [name, value] of properties.user_properties ?? []) {
    userProperties ??= {};
    (userProperties[name] ??= []).push(value);
  }
  const indicator = properties.payload_format_indicator;
  const found = {
    payloadFormatIndicator: indicator === undefined ? undefined : indicator === 1,
    messageExpiryInterval: properties.message_expiry_interval,
    topicAlias: properties.topic_alias,
    responseTopic: properties.response_topic,
    correlationData: correlation && Buffer.from(correlation, "hex"),
    contentType: properties.content_type,
    userProperties,
  };
  return Object.fromEntries(Object.entries(found).filter(([, value]) => value !== undefined));
}

function fromLibrary(properties) {
  const indicator = properties.payloadFormatIndicator;
  const users = Object.entries(properties.userProperties ?? {});
  return {
    payload_format_indicator: indicator === undefined ? undefined : Number(indicator),
    message_expiry_interval: properties.messageExpiryInterval,
    response_topic: properties.responseTopic,
    correlation_data: properties.correlationData?.toString("hex"),
    content_type: properties.contentType,
    user_properties: users.flatMap(([name, values]) => [values].flat().map((it) => [name, it])),
    subscription_identifiers: [properties.subscriptionIdentifier ?? []].flat(),
  };
}

const commands = {
  connect({ port, version, client_id, clean, will }) {
    is5 = version === "5";
    const options = {
      ...VERSIONS[version],
      clientId: client_id,
      clean,
      reconnectPeriod: 0,
      resubscribe: false,
    };
    // Without a Topic Alias Maximum: with one the library loses the topic of QoS 2 messages.
    if (is5 && !clean) {
      options.properties = { sessionExpiryInterval: 3600 };
    }
    if (will) {
      const { topic, qos, retain } = will;
      options.will = { topic, payload: Buffer.from(will.payload, "hex"), qos, retain };
      if (is5) {
        options.will.properties = toLibrary(will.properties);
      }
    }
    let code = null;
    client = mqtt.connect(`mqtt://127.0.0.1:${port}`, options);
    client.on("connect", (connack) =>
      report("connected", {
        session_present: connack.sessionPresent,
        topic_alias_maximum: connack.properties?.topicAliasMaximum ?? 0,
      }),
    );
    client.on("message", (topic, payload, { qos, retain, properties }) =>
      report("message", {
        topic,
        payload: payload.toString("hex"),
        qos,
        retain,
        properties: fromLibrary(properties ?? {}),
      }),
    );
    // The callback of publish() does not get every reason.
    client.on("packetreceive", ({ cmd, reasonCode }) => {
      if (cmd === "puback" || cmd === "pubcomp" || (cmd === "pubrec" && reasonCode >= 0x80)) {
        report("published", { code: reasonCode ?? null });
      }
    });
    client.on("disconnect", (packet) => (code = packet.reasonCode));
    client.on("close", () => report("disconnected", { code }));
    client.on("error", (error) => report("failed", { reason: `${error}` }));
  },

  subscribe({ subscriptions, identifier }) {
    const topics = {};
    for (const it of subscriptions) {
      const options = { nl: it.no_local, rap: it.retain_as_published, rh: it.retain_handling };
      topics[it.filter] = { qos: it.qos, ...(is5 ? options : {}) };
    }
    const options = identifier ? { properties: { subscriptionIdentifier: identifier } } : {};
    client.subscribe(topics, options, (error, _subscriptions, suback) =>
      report("subscribed", { codes: (suback ?? error.packet).granted }),
    );
  },

  unsubscribe({ filter }) {
    client.unsubscribe(filter, (_error, unsuback) =>
      report("unsubscribed", { codes: (is5 && unsuback.granted) || [] }),
    );
  },

  publish({ topic, payload, qos, retain, properties }) {
    const options = { qos, retain, ...(is5 ? { properties: toLibrary(properties) } : {}) };
    client.publish(topic, Buffer.from(payload, "hex"), options, () => {
      if (qos === 0) {
        report("published", { code: null });
      }
    });
  },

  disconnect() {
    client.end();
  },
};

const lines = readline.createInterface({ input: process.stdin });
lines.on("line", (line) => {
  const command = JSON.parse(line);
  commands[command.do](command);
});
lines.on("close", () => process.exit());
