"""The train ids of Cityscapes by name; what carries none is painted as void."""

ROAD, SIDEWALK, BUILDING, WALL, FENCE, POLE, TRAFFIC_LIGHT = range(7)
TRAFFIC_SIGN, VEGETATION, TERRAIN, SKY, PERSON, RIDER = range(7, 13)
CAR, TRUCK, BUS, TRAIN, MOTORCYCLE, BICYCLE = range(13, 19)
VOID = 255
