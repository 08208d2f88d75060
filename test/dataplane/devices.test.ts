import { describe, expect, it } from "vitest";
import { DeviceTable, NO_DEVICE } from "../../dataplane/devices.ts";

describe("a device table", () => {
  it("numbers each name once, the empty one as no device", () => {
    const devices = new DeviceTable();
    const eth0 = devices.number("eth0");
    expect(devices.number("eth0")).toBe(eth0);
    expect(devices.number("")).toBe(NO_DEVICE);
    expect(devices.name(eth0)).toBe("eth0");
    expect(() => devices.name(9)).toThrow(RangeError);
  });

  it("a plus at the end stands for any ending, and for none", () => {
    const devices = new DeviceTable();
    const answers = (pattern: string) =>
      ["", "cali", "cali0", "calm", "eth0"].filter((name) =>
        devices.matches(devices.pattern(pattern), devices.number(name)),
      );
    expect(answers("cali+")).toEqual(["cali", "cali0"]);
    expect(answers("cali")).toEqual(["cali"]);
    expect(answers("+")).toEqual(["", "cali", "cali0", "calm", "eth0"]);
  });

  it("keeps its answers while devices and patterns are added in any order", () => {
    const devices = new DeviceTable();
    const patterns: string[] = [];
    const names: string[] = [];
    for (let index = 0; index < 300; index++) {
      names.push(`cali${index}`);
      devices.number(`cali${index}`);
      patterns.push(index % 3 === 0 ? `cali${index}` : `cali${index}+`);
      devices.pattern(patterns[index] ?? "");
    }
    for (const pattern of patterns) {
      const wanted = names.filter((name) =>
        pattern.endsWith("+") ? name.startsWith(pattern.slice(0, -1)) : name === pattern,
      );
      const found = names.filter((name) => devices.matches(devices.pattern(pattern), devices.number(name)));
      expect(found).toEqual(wanted);
    }
  });
});
