/** The core for Node: the addon where there is one for the platform, else WebAssembly. */
import { nativeMemory } from "../stores/native-memory.js";
import { nativeCore } from "./crossing.js";
import { fastCore } from "./fast.js";
import { addon } from "./native.js";
import { offerCore, type Starting } from "./registry.js";

const start: Starting = () => {
  const native = addon();
  return native ? nativeCore(native) : fastCore();
};
start.memory = (capacity) => {
  const native = addon();
  return native && nativeMemory(native, capacity);
};
offerCore(start);
