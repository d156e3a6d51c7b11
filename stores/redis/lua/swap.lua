#!lua flags=allow-oom
-- One swap, as `apply` defines it, with the server's clock.
--
-- KEYS[1]  the slot
-- ARGV[1]  the revision that has to lie there; empty: nothing may; anything else but 16 bytes: read
-- ARGV[2]  the record's version and new revision, 17 bytes; empty: remove what lies there
-- ARGV[3]  how long the lease shall live, ARGV[4] how long the slot shall be kept, in milliseconds
-- ARGV[5]  the rest of the record: the head behind its length in one byte, then the body
-- ARGV[6]  not empty: a slot that defeats the swap is written to the replicas once more, so that a
--          WAIT behind this script covers it
--
-- Answers the time where it won; else the time and, where a slot defeated it, that slot's gone_at
-- and its record. The key's expiry is gone_at; a record has how long before that its lease ends.
local call, key, expect, put = redis.call, KEYS[1], ARGV[1], ARGV[2]
local left = call('PTTL', key)
local now, gone_at, before

if left == -2 or left == 0 then -- nothing, or what is gone in this very millisecond
  local time = call('TIME')
  now, gone_at = time[1] * 1000 + math.floor(time[2] / 1000), 0
  if expect ~= '' then
    return {now}
  end
else
  gone_at = call('PEXPIRETIME', key)
  now = gone_at - left
  local fixed = call('GETRANGE', key, '0', '24')
  if string.sub(fixed, 2, 17) ~= expect or string.byte(fixed) ~= 1 or #fixed < 25 or left < 0 then
    if ARGV[6] ~= '' and left > 0 then
      call('PEXPIREAT', key, gone_at)
    end
    return {now, gone_at, call('GET', key)}
  end
  before = fixed
end

if put == '' then
  call('UNLINK', key)
  return now
end
local lease_until = now + ARGV[3]
if before and lease_until > now then
  lease_until = math.max(lease_until, gone_at - struct.unpack('<i8', before, 18))
end
gone_at = math.max(gone_at, now + ARGV[4])
if gone_at == now then
  call('UNLINK', key)
else
  call('SET', key, put .. struct.pack('<i8', gone_at - lease_until) .. ARGV[5], 'PXAT', string.format('%d', gone_at))
end
return now
