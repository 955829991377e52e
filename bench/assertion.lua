-- A request for a token with a client assertion, another one each time: the next line of the file that ASSERTIONS names.
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/x-www-form-urlencoded"

local form = "grant_type=client_credentials&scope=read%20write" ..
  "&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer&client_assertion="
local name = assert(os.getenv("ASSERTIONS"), "ASSERTIONS is not set")
local file = assert(io.open(name))

-- Each thread has a Lua state of its own and would begin with the first line.
local threads = 0
function setup()
  threads = threads + 1
  assert(threads == 1, "one thread only: two would send the same assertions")
end

-- wrk builds one request before all others, to look at it, and does not send it. So the first line goes unused.
function request()
  local assertion = file:read("*l")
  if not assertion then
    io.stderr:write("the file of assertions ran out before the time did\n")
    os.exit(1)
  end
  return wrk.format(nil, nil, nil, form .. assertion)
end

dofile(debug.getinfo(1, "S").source:match("^@(.*/)") .. "result.lua")
