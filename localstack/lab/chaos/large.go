package chaos

import (
	"context"
	"encoding/json"
	"time"
)

// bucket is the bucket for the bodies of large events.
const bucket = "large-events"

// pointerClass begins a body that points to an object, in the format of Amazon's Extended Client
// Libraries.
const pointerClass = "software.amazon.payloadoffloading.PayloadS3Pointer"

// content returns the body of an event: that of its message, or the object to which it points. A
// pointer to no object is returned as it is, and the checker then finds another body.
func (r *run) content(body string) string {
	var class string
	var at struct{ S3BucketName, S3Key string }
	pointer := [2]any{&class, &at}
	if !r.plan.Load.Large || json.Unmarshal([]byte(body), &pointer) != nil || class != pointerClass {
		return body
	}
	if object := r.broker.Object(at.S3BucketName, at.S3Key); object != nil {
		return string(object)
	}
	return body
}

// stores reports whether the relays store the bodies of large events for a destination. They store
// none for a bus.
func (r *run) stores(d *destination) bool { return r.plan.Load.Large && d.limit != busLimit }

// hasBucket excludes runs without large events.
func hasBucket(p *Plan) bool { return p.Load.Large }

// bucketRefusals are codes of S3. None of them says anything about an event.
var bucketRefusals = []string{"SlowDown", "InternalError", "AccessDenied", "NoSuchBucket"}

// refuseBucket makes the bucket refuse every object, for so long that the destinations of large
// events count as unavailable.
func refuseBucket(ctx context.Context, a *act) error {
	a.broker.RefuseBucket(bucket, bucketRefusals[a.random.IntN(len(bucketRefusals))])
	defer a.broker.RefuseBucket(bucket, "")
	pause(ctx, a.plan.ParkAfter+300*time.Millisecond+a.within(2*time.Second))
	return nil
}
