"""Will it arrive late? Sixteen airlines learn it together, each from its own flights, which stay where they are.

Every airline has this file, its own flights, and what everybody knows: weather, planes, airports. So has the hub that
coordinates them, which has no flights at all.
"""

import fivefold as ff

whole = ["year", "month", "day", "dep_time", "sched_dep_time", "dep_delay", "arr_time", "sched_arr_time", "arr_delay",
         "flight", "air_time", "distance", "hour", "minute"]
raw_flights = ff.Table("raw_flights", "data/flights/*.csv", nulls=("", "NA"), schema={
    **dict.fromkeys(whole, int), "carrier": str, "tailnum": str, "origin": str, "dest": str, "time_hour": "timestamp"})
raw_weather = ff.Table("raw_weather", "data/weather.csv", nulls=("", "NA"))
airports = ff.Table("airports", "data/airports.csv")
planes = ff.Table("planes", "data/planes.csv", nulls=("", "NA"))

departures = ff.View("departures", """
    select f.carrier || f.flight || '-' || f.origin || '-' || strftime(f.time_hour, '%Y%m%d%H') as flight_id,
           f.carrier, f.origin, f.dest, f.distance, f.hour, f.dep_delay, f.arr_delay, p.seats,
           f.arr_time // 100 * 60 + f.arr_time % 100 as lands_at_minute,
           coalesce(a.tzone, 'America/Puerto_Rico') as zone,
           f.time_hour + to_minutes(f.minute + f.dep_delay) as departed_at
    from raw_flights f left join planes p on f.tailnum = p.tailnum left join airports a on f.dest = a.faa
    where f.dep_delay is not null""")
flights = ff.View("flights", """
    select * exclude (lands_at_minute, zone),
           timezone(zone, date_trunc('day', timezone(zone, departed_at::timestamptz)) + to_minutes(lands_at_minute)
             + to_days(if(lands_at_minute <= date_diff('minute', date_trunc('day', timezone(zone, departed_at::timestamptz)),
                                                       timezone(zone, departed_at::timestamptz)), 1, 0))) as arrived_at
    from departures""", time="departed_at", id="flight_id")
landings = ff.View("landings", """
    select flight_id, origin, dest, carrier, arr_delay, arrived_at from flights
    where arr_delay is not null""", time="arrived_at", id="flight_id")
observations = ff.View("observations", """
    select origin, time_hour as observed_at, temp, visib, wind_speed, wind_dir, precip from raw_weather""",
    time="observed_at")

# An airline's own history is keyed by the airline: it means the same at the airline, at the hub, and where it is served
airline, its_airport = ff.Entity("airline", key="carrier"), ff.Entity("its_airport", key=["carrier", "origin"])
airport = ff.Entity("airport", key="origin")
own_delays = ff.FeatureView("own_delays", airline, landings, [
    ff.mean("arr_delay", over="12h"), ff.mean("arr_delay", over="7d")])
own_departures = ff.FeatureView("own_departures", its_airport, flights, [
    ff.count(over="1h"), ff.mean("dep_delay", over="3h")])
weather = ff.FeatureView("weather", airport, observations, ttl="6h", delay="30m", features=[
    ff.last("temp"), ff.last("visib"), ff.last("wind_speed"), ff.last("wind_dir"), ff.max("precip", over="3h")])

late = ff.Model("late", ff.Target(flights, "arr_delay > 15", known="arrived_at"), split=ff.TimeSplit(test="2013-11-01"),
    metrics=["auc", "logloss", "brier", "accuracy"], learner=ff.learner("logistic"), features=[
        own_delays, own_departures, weather,
        ff.Request("dep_delay", int), ff.Request("distance", int), ff.Request("hour", int), ff.Request("seats", int),
        ff.Derived("crosswind", "wind_speed * abs(sin(radians(wind_dir)))")],
    gates=[ff.Gate("auc", at_least=0.8)])
carriers = ff.Federation("carriers", late, split="carrier", public=[raw_weather, planes, airports], rounds=8,
    strategy=ff.FedAvg(lr=4.0, momentum=0.5), privacy=[ff.SecureSum(min_survivors=12), ff.DP(epsilon=3, delta=1e-5)])
live = ff.Endpoint("late", late)
