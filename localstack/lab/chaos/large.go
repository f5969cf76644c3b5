package chaos

import "encoding/json"

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
