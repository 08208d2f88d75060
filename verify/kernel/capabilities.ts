/** What the kernel judge needs of a machine, and exactly what of it is missing. */
import { spawnSync } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { bpfTrial } from "../bpf/trial.ts";
import { helperPath } from "./helper.ts";
import { Oracle } from "./oracle.ts";
import { RuleLoader } from "./rules.ts";

/** Parts of the judge. Without `judge` nothing runs; the others are asked for by name. */
export type KernelFeature = "judge" | "nft-variant" | "bridge" | "bpf";

export interface MissingCapability {
  readonly feature: KernelFeature;
  /** What is not there, in one line. */
  readonly what: string;
  /** What to do about it. */
  readonly remedy: string;
}

interface Tool {
  readonly command: string;
  readonly arguments: readonly string[];
  readonly feature: KernelFeature;
  /** Debian's name of the package. */
  readonly package: string;
}

const TOOLS: readonly Tool[] = [
  { command: "gcc", arguments: ["--version"], feature: "judge", package: "gcc libc6-dev linux-libc-dev" },
  { command: "nsenter", arguments: ["--version"], feature: "judge", package: "util-linux" },
  { command: "ip", arguments: ["-V"], feature: "judge", package: "iproute2" },
  { command: "bridge", arguments: ["-V"], feature: "bridge", package: "iproute2" },
  { command: "nft", arguments: ["--version"], feature: "judge", package: "nftables" },
  { command: "ipset", arguments: ["--version"], feature: "judge", package: "ipset" },
  { command: "iptables-legacy-restore", arguments: ["--version"], feature: "judge", package: "iptables" },
  { command: "ip6tables-legacy-restore", arguments: ["--version"], feature: "judge", package: "iptables" },
  { command: "iptables-nft-restore", arguments: ["--version"], feature: "nft-variant", package: "iptables" },
];

/** One trial per kernel feature: a script that only works with it. */
const TRIALS: readonly { readonly feature: KernelFeature; readonly what: string; readonly script: string }[] = [
  { feature: "judge", what: "legacy iptables", script: "iptables-legacy -t raw -L -n && ip6tables-legacy -L -n" },
  {
    feature: "judge",
    what: "IP sets",
    script:
      "for type in hash:ip hash:net hash:ip,port hash:net,port list:set; do ipset create x $type; ipset destroy x; done",
  },
  { feature: "judge", what: "connection tracking", script: "cat /proc/sys/net/netfilter/nf_conntrack_max" },
  { feature: "judge", what: "rule traces", script: "cat /proc/sys/net/netfilter/nf_log/2" },
  { feature: "nft-variant", what: "iptables over nf_tables", script: "iptables-nft -L -n && ip6tables-nft -L -n" },
  {
    feature: "bridge",
    what: "bridges with br_netfilter",
    script:
      "ip link add probe0 type bridge && ip link delete probe0 && cat /proc/sys/net/bridge/bridge-nf-call-iptables",
  },
];

/** Everything that is missing; empty when all parts of the judge can run. Changes nothing on the machine. */
export async function missingCapabilities(): Promise<readonly MissingCapability[]> {
  const missing: MissingCapability[] = [];
  for (const tool of TOOLS) {
    const { error } = spawnSync(tool.command, tool.arguments, { stdio: "ignore" });
    if (error === undefined) continue;
    missing.push({ feature: tool.feature, what: `no ${tool.command}`, remedy: `apt install ${tool.package}` });
  }
  const privilege = missingPrivilege();
  if (privilege !== undefined) missing.push(privilege);
  // The trials need the tools and the privilege; naming what follows from their absence would only hide the cause.
  if (missing.some(({ feature }) => feature === "judge")) return missing;
  return [...missing, ...(await failedTrials())];
}

/** The reasons against a feature, on one line; undefined when it can run. */
export function reasonAgainst(missing: readonly MissingCapability[], feature: KernelFeature): string | undefined {
  const reasons = missing.filter((one) => one.feature === "judge" || one.feature === feature);
  if (reasons.length === 0) return undefined;
  return reasons.map(({ what, remedy }) => `${what} (${remedy})`).join("; ");
}

function missingPrivilege(): MissingCapability | undefined {
  const remedy = "run as root, or in a container with CAP_NET_ADMIN and --device /dev/net/tun";
  if (process.getuid?.() !== 0) return { feature: "judge", what: "not root", remedy };
  try {
    accessSync("/dev/net/tun", constants.R_OK | constants.W_OK);
  } catch {
    return { feature: "judge", what: "no /dev/net/tun", remedy };
  }
  return undefined;
}

async function failedTrials(): Promise<readonly MissingCapability[]> {
  const firstLine = (error: unknown) => (error instanceof Error ? (error.message.split("\n")[0] ?? "") : String(error));
  let oracle: Oracle;
  try {
    helperPath();
    oracle = await Oracle.start({ devices: [{ kind: "tun", name: "probe1" }], trace: "legacy", events: true });
  } catch (error) {
    return [
      { feature: "judge", what: firstLine(error), remedy: "a kernel with network namespaces, TUN and nfnetlink" },
    ];
  }
  const missing: MissingCapability[] = [];
  for (const { feature, what, script } of TRIALS) {
    try {
      oracle.run(script);
    } catch (error) {
      missing.push({ feature, what: `no ${what}: ${firstLine(error)}`, remedy: "a kernel built with it" });
    }
  }
  try {
    await new RuleLoader(oracle, { variant: "legacy", trace: true }).load({});
  } catch (error) {
    missing.push({ feature: "judge", what: `no nf_tables: ${firstLine(error)}`, remedy: "a kernel built with it" });
  }
  await oracle.close();
  try {
    await bpfTrial();
  } catch (error) {
    missing.push({
      feature: "bpf",
      what: `no eBPF: ${firstLine(error)}`,
      remedy: "a kernel with BPF_PROG_TEST_RUN, and CAP_BPF",
    });
  }
  return missing;
}
