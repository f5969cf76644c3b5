package postgres

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/endpointcreds"
	"github.com/aws/aws-sdk-go-v2/feature/rds/auth"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/jackc/pgx/v5"
)

// authTimeout bounds the authentication that precedes a connect. pgxpool does not cancel a connect
// when the caller that needs it gives up.
const authTimeout = 2 * time.Second

// awsSettings reads the settings and credentials of AWS from the environment. The SDK's cache
// requests credentials in a goroutine that outlives the context of the caller. So the client has a
// limit of its own. Otherwise each connect would leave a goroutine behind while an endpoint does
// not answer.
func awsSettings(ctx context.Context) (aws.Config, error) {
	client := awshttp.NewBuildableClient().WithTimeout(authTimeout)
	return awsconfig.LoadDefaultConfig(ctx, awsconfig.WithHTTPClient(client),
		awsconfig.WithEndpointCredentialOptions(func(o *endpointcreds.Options) { o.HTTPClient = client }))
}

// readSecret reads the secret for every connection, because RDS rotates a managed password every
// seven days.
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/rds-secrets-manager.html
func (s Settings) readSecret(ctx context.Context, conn *pgx.ConnConfig) error {
	sdk, err := awsSettings(ctx)
	if err != nil {
		return fmt.Errorf("AWS settings: %w", err)
	}
	value, err := secretsmanager.NewFromConfig(sdk).
		GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: &s.SecretARN})
	if err != nil {
		return fmt.Errorf("read the secret %s (DATABASE_SECRET_ARN): %w", s.SecretARN, err)
	}
	user, password, err := parseSecret(aws.ToString(value.SecretString))
	if err != nil {
		return fmt.Errorf("read the secret %s (DATABASE_SECRET_ARN): %w", s.SecretARN, err)
	}
	conn.User, conn.Password = cmp.Or(user, conn.User), password
	return nil
}

// parseSecret reads the JSON of a secret that RDS manages. Any other text is a password, without
// the line break at the end of a file.
// https://docs.aws.amazon.com/secretsmanager/latest/userguide/reference_secret_json_structure.html
func parseSecret(text string) (user, password string, err error) {
	fields := struct{ Username, Password string }{}
	if json.Unmarshal([]byte(text), &fields) != nil {
		fields.Username, fields.Password = "", strings.TrimRight(text, "\r\n")
	}
	if fields.Password == "" {
		return "", "", errors.New("it has no password: store one as plain text, or as JSON with username and password")
	}
	return fields.Username, fields.Password, nil
}

// createToken creates a token without a request. The token is valid for 15 minutes, for one role on
// one host and port. The server checks it only when a connection is opened.
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/UsingWithRDS.IAMDBAuth.html
func createToken(ctx context.Context, conn *pgx.ConnConfig) error {
	sdk, err := awsSettings(ctx)
	if err != nil {
		return fmt.Errorf("AWS settings: %w", err)
	}
	region := cmp.Or(regionOf(conn.Host), sdk.Region)
	if region == "" {
		return fmt.Errorf("create an IAM token for the database: the host name %s has no region: set "+
			"AWS_REGION", conn.Host)
	}
	address := net.JoinHostPort(conn.Host, strconv.Itoa(int(conn.Port)))
	conn.Password, err = auth.BuildAuthToken(ctx, address, region, conn.User, sdk.Credentials)
	if err != nil {
		return fmt.Errorf("create an IAM token for %s on %s: %w", conn.User, address, err)
	}
	return nil
}

// rdsHost matches the name of an instance, a cluster or a proxy with its region. In China the
// region is in another place.
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/CHAP_CommonTasks.Connect.html
var rdsHost = regexp.MustCompile(
	`(?i)\.(?:([a-z]+(?:-[a-z]+)+-\d+)\.rds|rds\.([a-z]+(?:-[a-z]+)+-\d+))\.amazonaws\.com(?:\.cn)?\.?$`)

func isRDS(host string) bool { return rdsHost.MatchString(host) }

func regionOf(host string) string {
	found := rdsHost.FindStringSubmatch(host)
	if found == nil {
		return ""
	}
	return cmp.Or(found[1], found[2])
}
