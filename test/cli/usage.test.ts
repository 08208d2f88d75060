import { describe, expect, it } from "vitest";
import { VERBS } from "../../cli/verbs.ts";
import { STRATEGIES } from "../../compiler/strategies/registry.ts";
import { chainwalk } from "./commandLine.ts";

const DB = "-f scenarios/db-policy";

describe("usage", () => {
  it("help names every verb, and every verb has help of its own", async () => {
    const { code, out } = await chainwalk("--help");
    expect(code).toBe(0);
    for (const { name } of VERBS) {
      expect(out).toContain(`  ${name} `);
      const help = await chainwalk(`${name} --help`);
      expect(help.code).toBe(0);
      expect(help.out).toContain(`Usage: chainwalk ${name}`);
      expect(await chainwalk(`help ${name}`)).toEqual(help);
    }
  });

  it("no verb at all is a usage error that shows the verbs", async () => {
    const { code, out, err } = await chainwalk("");
    expect(code).toBe(2);
    expect(out).toBe("");
    expect(err).toContain("validate");
  });

  it("the version is data on stdout", async () => {
    expect(await chainwalk("version")).toEqual({ code: 0, out: "chainwalk 0.0.0-test\n", err: "" });
    expect(await chainwalk("--version")).toEqual({ code: 0, out: "chainwalk 0.0.0-test\n", err: "" });
  });

  const mistakes: readonly (readonly [what: string, command: string | readonly string[], allowed: string])[] = [
    ["an unknown verb", "trce", "Did you mean trace?"],
    ["an unknown verb", "frobnicate", "allowed: validate, "],
    ["help of an unknown verb", "help trce", "Did you mean trace?"],
    ["help of an unknown verb", "trce --help", "Did you mean trace?"],
    ["an unknown flag", `trace ${DB} --prot udp`, "--protocol"],
    ["an unknown flag of the program", "--frob", "allowed: validate"],
    ["an unknown format", `compile ${DB} -o yaml`, "iptables-save, ip6tables-save, ipset-save, maps, json, summary"],
    ["a format of the other mode", `trace ${DB} --packets - -o summary`, "jsonl, table"],
    ["a format of the other mode", `trace ${DB} --from db --to dns -o jsonl`, "minimal, summary, detailed, json"],
    [
      "a kernel trace of maps",
      `trace ${DB} --from db --to frontend -o iptables-trace -s bpf-hash`,
      "no iptables rules",
    ],
    ["a kernel trace of the API text", `trace ${DB} --from db --to frontend -o iptables-trace -s reference`, "summary"],
    ["an unknown strategy", `matrix ${DB} -s calio`, STRATEGIES.map(({ name }) => name).join(", ")],
    ["an unknown option of a strategy", `compile ${DB} --node node-a --set colour=red`, "chain-version"],
    ["a value that an option refuses", `compile ${DB} --node node-a --set enable-ipv6=maybe`, "auto, true, false"],
    ["an option without a value", `compile ${DB} --node node-a --set chain-version`, "OPTION=VALUE"],
    ["a port that is none", `trace ${DB} --from db --to frontend --port 65536`, "0-65535"],
    ["a port that is no number", `trace ${DB} --from db --to frontend --port http`, "0-65535"],
    ["an unknown protocol", `trace ${DB} --from db --to frontend --protocol quic`, "tcp, udp, sctp"],
    ["unknown TCP flags", `trace ${DB} --from db --to frontend --flags SYN`, "FSRPAUEC"],
    ["an unknown verdict", `trace ${DB} --from db --to frontend --expect deny`, "accept, drop, reject"],
    ["an unknown pod", `trace ${DB} --from nobody --to db`, "namespace/pod"],
    ["a pod of another namespace", `trace ${DB} --from api-pod --to db`, "prod/api-pod"],
    ["an unknown node", `trace ${DB} --from node:node-x --to db`, "node-a, node-b"],
    ["a family the pod has not", `trace ${DB} --from db --to frontend --family 6`, "no IPv6 address"],
    ["a port for a protocol without", `trace ${DB} --from db --to frontend --protocol icmp --port 1`, "tcp, udp, sctp"],
    ["no receiver", `trace ${DB} --from db`, "--to WHO"],
    ["one packet and many", `trace ${DB} --packets - --port 80`, "exclude each other"],
    ["--fresh for one packet", `trace ${DB} --from db --to frontend --fresh`, "--packets"],
    ["two things from standard input", "trace -f - --packets -", "standard input"],
    ["no manifests", "validate", "-f FILE"],
    ["a file that is not there", "validate -f nowhere.yaml", "no such file"],
    ["a node that is not there", `compile ${DB} --node node-x`, "node-a, node-b"],
    ["no node where there are two", `compile ${DB}`, "node-a, node-b"],
    ["a program of the reference", `compile ${DB} --node node-a -s reference`, "choose a solution"],
    ["tables of several of which one has none", `compile ${DB} --node node-a -s all`, "cilium-ebpf makes no tables"],
    ["maps of a solution with tables", `compile ${DB} --node node-a -o maps`, "iptables-save"],
    ["a matrix port without number", `matrix ${DB} --port tcp`, "tcp/80"],
    ["a scenario that is not there", "test nowhere", "no such folder"],
    ["a folder without scenarios", "test docs", "scenario.yaml"],
    ["a shell we do not know", "completion tcsh", "bash, zsh, fish"],
    ["an argument too many", `validate ${DB} more`, "Expected 0 arguments"],
    ["an import without saves", "import", "--iptables-save"],
    ["packets drawn for no kernel", `verify ${DB} --packets 100`, "--packets goes with --kernel"],
    ["a seed of no drawing", `verify ${DB} --seed 1`, "--seed goes with --kernel"],
    ["a folder for findings of no kernel", `verify ${DB} --findings found`, "--findings goes with --kernel"],
    ["a limit of what is drawn", `verify ${DB} --kernel --limit 9`, "--limit and --kernel exclude each other"],
    ["a node without its saves", `verify ${DB} --node node-a`, "--node goes with a node's saves"],
    ["a node without its saves", `compare ${DB} --node node-a`, "--node goes with a node's saves"],
    ["a node without its saves", `lint ${DB} --node node-a`, "--node goes with a node's saves"],
    ["a node without its saves", `replay ${DB} t.jsonl --node node-a`, "--node goes with a node's saves"],
    ["interfaces without saves", `trace ${DB} --from db --to frontend --interfaces i.json`, "--interfaces goes with a"],
    ["a family of many packets", `trace ${DB} --packets - --family 6`, "--packets and --family exclude each other"],
    ["origins where none are written", `compile ${DB} --node node-a -o json --origins`, "is for -o iptables-save"],
    [
      "checkpoints of nothing",
      `replay ${DB} t.jsonl --checkpoint-seconds 5`,
      "--checkpoint-seconds goes with --resume",
    ],
    [
      "a checkpoint without a name",
      ["replay", "-f", "scenarios/db-policy", "t.jsonl", "--resume", ""],
      "name of a file",
    ],
    ["a suggestion gone on with", `replay ${DB} t.jsonl --suggest --resume c`, "--suggest exclude each other"],
    ["steps of a scenario set apart", "replay --story scenarios/db-policy t.jsonl --step-every 5", "says itself when"],
    ["a count beside a mix", `traffic ${DB} --mix mix.yaml --count 3`, "--count and --mix exclude each other"],
    ["a receiver beside a mix", `traffic ${DB} --mix mix.yaml --to db`, "--to and --mix exclude each other"],
    ["a comparison nobody prints", "bench rules --compare old.json -o csv", "is for -o table, md and html"],
    ["time where it has no limit", "bench targets --here --time 5", "--time and --here exclude each other"],
    ["runs of no campaign", "fuzz minimize scenarios/db-policy --runs 5", "--runs is for a campaign"],
    ["a corpus of no campaign", "fuzz --minimize scenarios/db-policy --corpus c", "--corpus is for a campaign"],
    ["two cases to make small", "fuzz minimize a.yaml --minimize b.yaml", "names one file"],
    ["scenarios beside their schema", "test --schema scenarios/db-policy", "exclude each other"],
  ];

  it.each(mistakes)("%s (%s) ends with 2 and says what is allowed", async (_what, command, allowed) => {
    const { code, out, err } = await chainwalk(command);
    expect(err).toContain(allowed);
    expect(err).not.toMatch(/\n\s+at /);
    expect({ code, out }).toEqual({ code: 2, out: "" });
  });

  it("--context is accepted and said to change nothing; --quiet says nothing", async () => {
    const loud = await chainwalk(`trace ${DB} --from frontend --to db --context kind -o minimal`);
    expect(loud.err).toContain("contacts no cluster");
    const quiet = await chainwalk(`trace ${DB} --from frontend --to db --context kind -o minimal --quiet`);
    expect(quiet).toEqual({ ...loud, err: "" });
  });

  it("strategies lists the registry and the reference", async () => {
    const { out } = await chainwalk("strategies");
    for (const { name, options } of STRATEGIES) {
      expect(out).toContain(name);
      for (const option of options) expect(out).toContain(`--set ${option.name}=${option.default}`);
    }
    expect(out).toContain("reference");
    const listed: unknown = JSON.parse((await chainwalk("strategies -o json")).out);
    expect(listed).toMatchObject(STRATEGIES.map(({ name, summary }) => ({ name, summary })));
  });
});
