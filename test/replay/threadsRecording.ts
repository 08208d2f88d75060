/** A recording that is hard to share among threads. */
const PODS = ["default/db", "default/frontend", "default/intruder", "prod/api-pod", "kube-system/dns", "myns/mypod"];

/** Connections of all pods to all others, closed or not, tuples used twice, errors about them: more than one batch. */
function recording(): string {
  const lines: object[] = [];
  for (let round = 0; round < 60; round++) {
    for (const [at, source] of PODS.entries()) {
      const destination = PODS[(at + 1 + (round % 5)) % PODS.length];
      const there = { protocol: "tcp", source, sourcePort: 40_000 + (round % 40), destination, destinationPort: 3306 };
      const back = {
        protocol: "tcp",
        source: destination,
        sourcePort: 3306,
        destination: source,
        destinationPort: there.sourcePort,
      };
      const time = round + at / 10;
      lines.push({ time, ...there, sequence: round }, { time, ...back, tcpFlags: "SA", acknowledgment: round + 1 });
      lines.push({ time, ...there, tcpFlags: "A", sequence: round + 1, acknowledgment: 1 });
      if (round % 3 === 0) lines.push({ time, ...there, tcpFlags: "FA" }, { time, ...back, tcpFlags: "FA" });
      if (round % 7 === 0) {
        const quoted = { protocol: "udp", source, sourcePort: 50_000, destination, destinationPort: 53 };
        lines.push({ time, ...quoted });
        lines.push({
          time,
          protocol: "icmp",
          source: destination,
          destination: source,
          icmpType: 3,
          icmpCode: 3,
          quoted,
        });
      }
    }
  }
  return lines.map((line) => JSON.stringify(line)).join("\n");
}

export const RECORDING = recording();
