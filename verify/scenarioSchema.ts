/**
 * The form of `scenario.yaml`: one source for types, messages and the published JSON Schema
 * (`scenarios/scenario.schema.json`). The descriptions below are its documentation.
 */
import * as z from "zod/mini";

// Without a language zod's small form, which the page carries, says "Invalid input" of everything.
z.config(z.locales.en());

function described<S extends z.ZodMiniType>(schema: S, description: string): S {
  z.globalRegistry.add(schema, { description });
  return schema;
}

const text = z.string().check(z.minLength(1));
const someOf = <S extends z.ZodMiniType>(schema: S) => z.array(schema).check(z.minLength(1));

const verdict = z.enum(["accept", "drop", "reject"]);

/** Strategy names with the reason. */
const reasons = z.record(z.string(), text);

const scope = {
  only: described(
    z.optional(reasons),
    "Strategies (or reference) for which this step exists, each with the reason; for all others the step is not there: its packet is not sent, its change not made.",
  ),
  except: described(
    z.optional(reasons),
    "Strategies (or reference) for which this step does not exist, each with the reason. Where a solution deviates from the API, the step that states the API's verdict has `except`, and a twin beside it states what the solution does with `only`.",
  ),
};

const fileScope = {
  only: described(
    z.optional(reasons),
    "Strategies (or reference) under which the scenario means something, each with the reason.",
  ),
  except: described(
    z.optional(reasons),
    "Strategies (or reference) under which the scenario means nothing, each with the reason: a solution that lacks the very feature it is about.",
  ),
};

const port = z.int().check(z.minimum(0), z.maximum(65_535));
const byte = z.int().check(z.minimum(0), z.maximum(255));
const word = z.int().check(z.minimum(0), z.maximum(0xffff_ffff));
const protocol = described(z.union([z.string(), byte]), "tcp, udp, sctp, icmp, icmpv6 or an IANA number.");
const end = described(z.string().check(z.minLength(1)), "An address, namespace/pod, or node:NAME.");
const time = described(
  z.number().check(z.minimum(0)),
  "Seconds, never decreasing; a step without one happens at the time of the step before.",
);

const details = {
  id: described(z.optional(z.union([z.string(), z.number()])), "Echoed in results."),
  time: z.optional(time),
  tcpFlags: described(z.optional(z.string()), "Letters of FSRPAUEC; S for tcp."),
  icmpType: described(z.optional(byte), "Echo request when absent."),
  icmpCode: z.optional(byte),
  icmpId: described(z.optional(port), "Echo identifier."),
  sequence: z.optional(word),
  acknowledgment: z.optional(word),
  window: z.optional(port),
  payloadBytes: z.optional(word),
  sctpChunk: described(z.optional(z.union([z.string(), byte])), "The first chunk, by name or number; INIT."),
  verificationTag: z.optional(word),
  fragment: described(z.optional(z.boolean()), "A second or later fragment."),
  quoted: described(
    z.optional(
      z.strictObject({
        protocol,
        source: end,
        sourcePort: z.optional(port),
        destination: end,
        destinationPort: z.optional(port),
      }),
    ),
    "The 5-tuple that an ICMP error carries.",
  ),
};

const expectations = {
  expect: described(
    verdict,
    "What becomes of the packet. Solutions refuse in their own way, some drop and some reject, so `drop` and `reject` also accept the way in which the strategy at hand refuses by policy: `drop` holds for a rejected packet under a strategy that rejects, `reject` for a dropped one under a strategy that drops.",
  ),
  state: described(
    z.optional(z.enum(["new", "established", "related", "invalid", "untracked"])),
    "What connection tracking on the last node took the packet for.",
  ),
  because: described(z.optional(text), "Text that must occur in the explanation, the last lines of `chainwalk trace`."),
};

/** A step that sends a packet. */
export const packetStepSchema = described(
  z.strictObject({
    packet: described(
      z.optional(z.string()),
      "The one-line form, instead of the tuple's fields: `tcp prod/api-pod:40000 > default/db:3306 S`; an IPv6 address stands in brackets; after the destination TCP flags, an SCTP chunk, or ICMP TYPE/CODE.",
    ),
    protocol: z.optional(protocol),
    source: z.optional(end),
    sourcePort: described(z.optional(port), "40000 where the protocol has ports."),
    destination: z.optional(end),
    destinationPort: z.optional(port),
    ...details,
    ...expectations,
    ...scope,
  }),
  "A packet, and what must become of it.",
);

const manifest = described(
  z.looseObject({ kind: z.string(), metadata: z.looseObject({ name: z.string() }) }),
  "A Kubernetes object as in a manifest.",
);

const objectName = described(
  z
    .string()
    .check(z.regex(/^\S+ \S+$/, "expected KIND NAME or KIND NAMESPACE/NAME, as in NetworkPolicy default/db-policy")),
  "KIND NAMESPACE/NAME, or KIND NAME for what has no namespace.",
);

const address = z.strictObject({
  pod: described(z.string().check(z.minLength(1)), "namespace/pod"),
  address: described(z.union([z.string(), someOf(z.string())]), "Its addresses from now on; of a dual-stack pod both."),
});

const change = { time: z.optional(time), ...scope };

const applyStep = described(
  z.strictObject({
    apply: z.union([manifest, someOf(manifest)]),
    ...change,
  }),
  "Objects that are created, or replace those of the same kind and name. Connection tracking lives on, as it does in a kernel.",
);

const deleteStep = described(
  z.strictObject({ delete: z.union([objectName, someOf(objectName)]), ...change }),
  "Objects that go away. Connection tracking lives on.",
);

const addressStep = described(
  z.strictObject({ setAddress: z.union([address, someOf(address)]), ...change }),
  "Pods that come back with other addresses. Connection tracking lives on.",
);

/** The whole file. */
export const scenarioSchema = z.strictObject({
  description: described(z.string().check(z.minLength(1)), "The one idea of the scenario, for people."),
  ...fileScope,
  steps: described(
    someOf(z.union([packetStepSchema, applyStep, deleteStep, addressStep])),
    "In order, through one stateful fabric of nodes per strategy.",
  ),
});
z.globalRegistry.add(scenarioSchema, { title: "chainwalk scenario" });

export type PacketStepText = z.infer<typeof packetStepSchema>;
export type ChangeStepText = z.infer<typeof applyStep> | z.infer<typeof deleteStep> | z.infer<typeof addressStep>;

/**
 * The schema of a step that changes the cluster, chosen by the key that only it has, so that a mistake is reported against
 * what the author meant and not against four alternatives. Undefined: the step is a packet.
 */
export function changeStepSchema(step: object): typeof applyStep | typeof deleteStep | typeof addressStep | undefined {
  if ("apply" in step) return applyStep;
  if ("delete" in step) return deleteStep;
  if ("setAddress" in step) return addressStep;
  return undefined;
}
