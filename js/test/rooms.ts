import type { Room } from "../src/testing/index.js";

/** What is opened in one room is one store: here, one value. */
export function inRooms<T>(make: (room: Room) => T): (room: Room) => T {
  const rooms = new Map<string, T>();
  return (room) => {
    const made = rooms.get(room.name) ?? make(room);
    rooms.set(room.name, made);
    return made;
  };
}
