-- Gives each request its place among a hundred, of which variants hold as many as their weights.
--
-- A unit's place is the hash that the local gateway takes it from, XXH64 of namespace, name and
-- unit: the same unit gets the same variant on one machine and in the cluster. A request without a
-- unit gets any place.

local UNIT_HEADER = "x-unit-id"

local P1, P2, P3 = 11400714785074694791ULL, 14029467366897019727ULL, 1609587929392839161ULL
local P4, P5 = 9650029242287828579ULL, 2870177450012600261ULL
local xor, rol, shr = bit.bxor, bit.rol, bit.rshift

local function u32(s, i)
  local a, b, c, d = s:byte(i, i + 3)
  return 0ULL + a + b * 256 + c * 65536 + d * 16777216
end

local function u64(s, i)
  return u32(s, i) + u32(s, i + 4) * 4294967296ULL
end

local function round(sum, x)
  return rol(sum + x * P2, 31) * P1
end

local function xxh64(s)
  local n, i, h = #s, 1, P5
  if n >= 32 then
    local a, b, c, d = P1 + P2, P2, 0ULL, 0ULL - P1
    while i + 31 <= n do
      a, b = round(a, u64(s, i)), round(b, u64(s, i + 8))
      c, d = round(c, u64(s, i + 16)), round(d, u64(s, i + 24))
      i = i + 32
    end
    h = rol(a, 1) + rol(b, 7) + rol(c, 12) + rol(d, 18)
    for _, v in ipairs({a, b, c, d}) do
      h = xor(h, round(0ULL, v)) * P1 + P4
    end
  end
  h = h + n
  while i + 7 <= n do
    h = rol(xor(h, round(0ULL, u64(s, i))), 27) * P1 + P4
    i = i + 8
  end
  if i + 3 <= n then
    h = rol(xor(h, u32(s, i) * P1), 23) * P2 + P3
    i = i + 4
  end
  while i <= n do
    h = rol(xor(h, s:byte(i) * P5), 11) * P1
    i = i + 1
  end
  h = xor(h, shr(h, 33)) * P2
  h = xor(h, shr(h, 29)) * P3
  return xor(h, shr(h, 32))
end

-- A header that is there several times is one unit, in whichever order; one that is empty is none.
local function unit_of(headers)
  local values = {}
  for i = 0, headers:getNumValues(UNIT_HEADER) - 1 do
    values[#values + 1] = headers:getAtIndex(UNIT_HEADER, i)
  end
  table.sort(values)
  local unit = table.concat(values, ",")
  return unit:find("[^,]") and unit
end

-- A header that is there once.
local function only(headers, name)
  return headers:getNumValues(name) == 1 and headers:get(name) or nil
end

math.randomseed(os.time())

function envoy_on_request(handle)
  local headers = handle:headers()
  -- No caller chooses these.
  headers:remove("x-abserve-unit")
  headers:remove("x-abserve-place")
  headers:remove("x-abserve-baseline")
  local port = 9000
  -- CONNECT has no path.
  local namespace, name = (headers:get(":path") or ""):match("^/seldon/([^/]+)/([^/]+)/")
  local of_rest = name ~= nil
  if not of_rest then
    port, namespace, name = 9500, only(headers, "namespace"), only(headers, "seldon")
  end
  -- What is hashed is what the route is chosen by, or a caller could choose the place: a path that
  -- names one SeldonDeployment and metadata that name another, or two of them, are no gRPC.
  if of_rest or not (namespace and name) then
    headers:remove("namespace")
    headers:remove("seldon")
  end
  if not (namespace and name) then
    return
  end
  local place = math.random(0, 99)
  local unit = unit_of(headers)
  if unit then
    local hashed = namespace .. "/" .. name .. "/" .. unit
    headers:add("x-abserve-unit", hashed)
    place = tonumber(xxh64(hashed) % 100ULL)
  end
  headers:add("x-abserve-place", tostring(place))
  local host = name .. "-baseline." .. namespace .. ".svc.cluster.local"
  headers:add("x-abserve-baseline", "outbound|" .. port .. "|baseline|" .. host)
end
