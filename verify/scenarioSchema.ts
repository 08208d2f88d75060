/**
 * The form of `scenario.yaml`: one source for types, messages and the published JSON Schema
 * (`scenarios/scenario.schema.json`). The descriptions below are its documentation.
 */
import * as z from "zod";

const verdict = z.enum(["accept", "drop", "reject"]);

/** Strategy names with the reason. */
const reasons = z.record(z.string(), z.string().min(1));

const scope = {
  only: reasons.optional().meta({
    description:
      "Strategies (or reference) for which this step exists, each with the reason; for all others the step is not there: its packet is not sent, its change not made.",
  }),
  except: reasons.optional().meta({
    description:
      "Strategies (or reference) for which this step does not exist, each with the reason. Where a solution deviates from the API, the step that states the API's verdict has `except`, and a twin beside it states what the solution does with `only`.",
  }),
};

const fileScope = {
  only: reasons.optional().meta({
    description: "Strategies (or reference) under which the scenario means something, each with the reason.",
  }),
  except: reasons.optional().meta({
    description:
      "Strategies (or reference) under which the scenario means nothing, each with the reason: a solution that lacks the very feature it is about.",
  }),
};

const port = z.int().min(0).max(65_535);
const byte = z.int().min(0).max(255);
const word = z.int().min(0).max(0xffff_ffff);
const protocol = z.union([z.string(), byte]).meta({ description: "tcp, udp, sctp, icmp, icmpv6 or an IANA number." });
const end = z.string().min(1).meta({ description: "An address, namespace/pod, or node:NAME." });
const time = z
  .number()
  .min(0)
  .meta({ description: "Seconds, never decreasing; a step without one happens at the time of the step before." });

const details = {
  id: z.union([z.string(), z.number()]).optional().meta({ description: "Echoed in results." }),
  time: time.optional(),
  tcpFlags: z.string().optional().meta({ description: "Letters of FSRPAUEC; S for tcp." }),
  icmpType: byte.optional().meta({ description: "Echo request when absent." }),
  icmpCode: byte.optional(),
  icmpId: port.optional().meta({ description: "Echo identifier." }),
  sequence: word.optional(),
  acknowledgment: word.optional(),
  window: port.optional(),
  payloadBytes: word.optional(),
  sctpChunk: z.union([z.string(), byte]).optional().meta({ description: "The first chunk, by name or number; INIT." }),
  verificationTag: word.optional(),
  fragment: z.boolean().optional().meta({ description: "A second or later fragment." }),
  quoted: z
    .strictObject({
      protocol,
      source: end,
      sourcePort: port.optional(),
      destination: end,
      destinationPort: port.optional(),
    })
    .optional()
    .meta({ description: "The 5-tuple that an ICMP error carries." }),
};

const expectations = {
  expect: verdict.meta({
    description:
      "What becomes of the packet. Solutions refuse in their own way, some drop and some reject, so `drop` and `reject` also accept the way in which the strategy at hand refuses by policy: `drop` holds for a rejected packet under a strategy that rejects, `reject` for a dropped one under a strategy that drops.",
  }),
  state: z
    .enum(["new", "established", "related", "invalid", "untracked"])
    .optional()
    .meta({ description: "What connection tracking on the last node took the packet for." }),
  because: z.string().min(1).optional().meta({
    description: "Text that must occur in the explanation, the last lines of `chainwalk trace`.",
  }),
};

/** A step that sends a packet. */
export const packetStepSchema = z
  .strictObject({
    packet: z.string().optional().meta({
      description:
        "The one-line form, instead of the tuple's fields: `tcp prod/api-pod:40000 > default/db:3306 S`; an IPv6 address stands in brackets; after the destination TCP flags, an SCTP chunk, or ICMP TYPE/CODE.",
    }),
    protocol: protocol.optional(),
    source: end.optional(),
    sourcePort: port.optional().meta({ description: "40000 where the protocol has ports." }),
    destination: end.optional(),
    destinationPort: port.optional(),
    ...details,
    ...expectations,
    ...scope,
  })
  .meta({ description: "A packet, and what must become of it." });

const manifest = z
  .looseObject({ kind: z.string(), metadata: z.looseObject({ name: z.string() }) })
  .meta({ description: "A Kubernetes object as in a manifest." });

const objectName = z
  .string()
  .regex(/^\S+ \S+$/, "expected KIND NAME or KIND NAMESPACE/NAME, as in NetworkPolicy default/db-policy")
  .meta({ description: "KIND NAMESPACE/NAME, or KIND NAME for what has no namespace." });

const address = z.strictObject({
  pod: z.string().min(1).meta({ description: "namespace/pod" }),
  address: z
    .union([z.string(), z.array(z.string()).min(1)])
    .meta({ description: "Its addresses from now on; of a dual-stack pod both." }),
});

const change = { time: time.optional(), ...scope };

const applyStep = z
  .strictObject({
    apply: z.union([manifest, z.array(manifest).min(1)]),
    ...change,
  })
  .meta({
    description:
      "Objects that are created, or replace those of the same kind and name. Connection tracking lives on, as it does in a kernel.",
  });

const deleteStep = z
  .strictObject({ delete: z.union([objectName, z.array(objectName).min(1)]), ...change })
  .meta({ description: "Objects that go away. Connection tracking lives on." });

const addressStep = z
  .strictObject({ setAddress: z.union([address, z.array(address).min(1)]), ...change })
  .meta({ description: "Pods that come back with other addresses. Connection tracking lives on." });

/** The whole file. */
export const scenarioSchema = z
  .strictObject({
    description: z.string().min(1).meta({ description: "The one idea of the scenario, for people." }),
    ...fileScope,
    steps: z
      .array(z.union([packetStepSchema, applyStep, deleteStep, addressStep]))
      .min(1)
      .meta({ description: "In order, through one stateful fabric of nodes per strategy." }),
  })
  .meta({ title: "chainwalk scenario" });

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
